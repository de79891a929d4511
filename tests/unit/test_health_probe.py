"""What probes send, what an answer means, and what all of them mean together."""

from __future__ import annotations

import struct

import pytest

from orchestrator.health import file, grpc, http, log
from orchestrator.health.check import Result, Verdict
from orchestrator.health.file import File
from orchestrator.health.grpc import Grpc
from orchestrator.health.http import Http
from orchestrator.health.log import Log
from orchestrator.health.probe import Role, together

WELL = Verdict("healthy", 5.0, last=Result(5.0, 0))
STARTING, ILL = Verdict("starting", 1.0), Verdict("unhealthy", 9.0, 3)


@pytest.mark.parametrize(
    ("verdicts", "roles", "status"),
    [
        ({}, ("startup", "ready"), "starting"),
        ({"startup": WELL}, ("startup", "ready"), "starting"),
        ({"startup": WELL, "ready": WELL}, ("startup", "ready"), "healthy"),
        ({"startup": ILL}, ("startup", "ready"), "unhealthy"),
        ({"ready": ILL}, ("ready",), "unready"),
        ({"ready": WELL, "live": ILL}, ("ready", "live"), "unhealthy"),
        ({"ready": ILL, "live": WELL}, ("ready", "live"), "unready"),
        ({"live": STARTING}, ("live",), "healthy"),
        ({"healthcheck": ILL}, ("healthcheck",), "unhealthy"),
        ({"healthcheck": STARTING}, ("healthcheck",), "starting"),
    ],
)
def test_probes_together(verdicts: dict[Role, Verdict], roles: tuple[Role, ...], status: str) -> None:
    assert together(verdicts, roles, 1.0).status == status


@pytest.mark.parametrize(
    ("answer", "well", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n", True, "HTTP status 200 OK"),
        (b"HTTP/1.0 302 Found\r\n", True, "HTTP status 302 Found"),
        (b"HTTP/1.1 503\r\n", False, "HTTP status 503"),
        (b"SSH-2.0-x\r\n", False, "no HTTP answer: 'SSH-2.0-x'"),
        (b"", False, "closed without an answer"),
    ],
)
def test_http(answer: bytes, well: bool, said: str) -> None:
    assert http.verdict(answer) == (well, said)


def test_an_http_request_names_its_host() -> None:
    assert http.request(Http(80, "/r", {"X-A": "1"})).startswith(b"GET /r HTTP/1.1\r\nHost: localhost:80\r\n")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def test_grpc_reads_the_state_from_the_data_frame() -> None:
    serving = frame(4, 0, 0, b"") + frame(1, 4, 1, b"\x88") + frame(0, 0, 1, b"\0\0\0\0\x02\x08\x01")
    trailers = frame(1, 5, 1, b"\x88")
    assert not grpc.complete(serving)
    assert grpc.complete(serving + trailers)
    assert grpc.verdict(serving + trailers) == (True, "grpc health SERVING")
    assert grpc.verdict(serving.replace(b"\x08\x01", b"\x08\x02")) == (False, "grpc health NOT_SERVING")
    assert grpc.verdict(trailers) == (False, "no gRPC health answer")
    assert b"/grpc.health.v1.Health/Check" in grpc.request(Grpc(9000, "shop"))


def test_file_and_log() -> None:
    assert file.verdict(File("/ok"), False) == (False, "/ok does not exist")
    assert file.verdict(File("/ok"), True)[0] is True
    assert log.found(Log(r"on \d+"), b"listening on 80\n")
    assert not log.found(Log(r"on \d+"), b"listening\n")
