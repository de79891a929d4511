"""The HTTP door on a real Unix socket: answers, streams, upgrades; garbage gets an answer or a goodbye."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import http
from orchestrator.errors import Conflict, HostRefused, Mistake


async def _answer(request: http.Request) -> http.Reply:
    match request.path:
        case "/echo":
            return http.Json({"query": request.query, "body": request.json()})
        case "/conflict":
            raise Conflict("cannot do that: not now")
        case "/stream":
            return http.Stream(_numbers())
        case "/early":
            return http.Stream(_early())
        case "/upgrade":
            return http.Upgrade("shout", _shout)
    raise Mistake("first", "second")


async def _numbers() -> AsyncIterator[bytes]:
    for number in range(3):
        yield f"{number}\n".encode()


async def _early() -> AsyncIterator[bytes]:
    raise Mistake("cannot begin: no")
    yield b""


async def _shout(reader: Any, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read(100)).upper())
    await writer.drain()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[str]:
    """The path of a socket that is being served by a loop in a thread."""
    path = str(tmp_path / "api.sock")
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(http.listen(path, _answer))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield path
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def ask(path: str, raw: bytes) -> bytes:
    """Send these bytes, read until the other side closes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(path)
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        return answer


def get(path: str, target: str, extra: str = "") -> tuple[int, bytes]:
    answer = ask(path, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_query_and_body_arrive(door: str) -> None:
    body = json.dumps({"a": [1]}).encode()
    head = f"POST /echo?x=1&y=a%20b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = ask(door, head.encode() + body)
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"query": {"x": "1", "y": "a b"}, "body": {"a": [1]}}


def test_an_error_has_its_own_status_and_its_complaints(door: str) -> None:
    assert get(door, "/conflict")[0] == 409
    status, body = get(door, "/nothing")
    assert status == 400
    assert json.loads(body)["error"]["complaints"] == ["first", "second"]


def test_a_stream_comes_in_chunks_and_an_early_error_as_a_status(door: str) -> None:
    status, body = get(door, "/stream")
    assert status == 200
    assert b"2\r\n0\n\r\n2\r\n1\n\r\n" in body
    assert get(door, "/early")[0] == 400


def test_an_upgraded_connection_belongs_to_its_handler(door: str) -> None:
    answer = ask(door, b"POST /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nhello")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"HELLO")


def test_several_requests_share_a_connection(door: str) -> None:
    one = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
    assert ask(door, one * 3).count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 1000,
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nhello",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_garbage_is_answered_or_left_and_the_next_client_served(door: str, raw: bytes) -> None:
    answer = ask(door, raw)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert get(door, "/echo")[0] == 200


def test_a_body_that_is_no_json_object_is_a_mistake(door: str) -> None:
    for body in (b"nonsense", b"[1]"):
        head = f"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        assert ask(door, head + body).startswith(b"HTTP/1.1 400")


def test_a_browser_is_refused(door: str) -> None:
    assert get(door, "/echo", "Origin: http://evil.example\r\n")[0] == 403


def test_the_socket_is_for_its_owner_alone(door: str) -> None:
    assert os.stat(door).st_mode & 0o777 == 0o600


def test_a_path_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostRefused, match="use a shorter --root"):
        asyncio.run(http.listen(str(tmp_path / ("x" * 120)), _answer))
