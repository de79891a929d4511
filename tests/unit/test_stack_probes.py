"""`x-pyorch.probes` and the other words that keep a service well."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import Mistake
from orchestrator.health.command import Command
from orchestrator.health.file import File
from orchestrator.health.grpc import Grpc
from orchestrator.health.http import Http
from orchestrator.health.log import Log
from orchestrator.health.tcp import Tcp
from orchestrator.stack.load import load
from orchestrator.stack.model import Healing, Service, Stack
from orchestrator.stack.store import from_json, to_json


def stack(tmp_path: Path, ours: str, top: str = "") -> Stack:
    file = tmp_path / "stack.yaml"
    text = f"name: shop\n{top}services:\n  web:\n    image: host:/\n    command: [sleep, '1']\n    x-pyorch: {ours}\n"
    file.write_text(text)
    return load([str(file)], directory=str(tmp_path), environment={})


def web(tmp_path: Path, ours: str, top: str = "") -> Service:
    return stack(tmp_path, ours, top).services["web"]


@pytest.mark.parametrize(
    ("written", "probe"),
    [
        ("{http: {port: 80, path: /ready}}", Http(80, "/ready")),
        ("{http: {port: 8443, scheme: https}}", Http(8443, secure=True)),
        ("{tcp: {port: 5432}}", Tcp(5432)),
        ("{grpc: {port: 9000, service: shop}}", Grpc(9000, "shop")),
        ("{file: /run/ok}", File("/run/ok")),
        ("{log: 'listening on \\d+'}", Log(r"listening on \d+")),
        ("{command: [pg_isready, -q]}", Command(("pg_isready", "-q"))),
        ("{command: test -e /ok}", Command(("/bin/sh", "-c", "test -e /ok"))),
    ],
)
def test_each_kind_is_read_and_survives_the_agent(tmp_path: Path, written: str, probe: object) -> None:
    made = stack(tmp_path, f"{{probes: {{ready: {written}}}}}")
    assert made.services["web"].probes["ready"].probe == probe
    assert made.services["web"].checked
    assert from_json(to_json(made)) == made


def test_the_timeout_of_a_startup_probe_is_all_the_time_there_is(tmp_path: Path) -> None:
    check = web(tmp_path, "{probes: {startup: {log: up, timeout: 20s}}}").probes["startup"].check
    assert (check.deadline, check.retries) == (20.0, 1)


@pytest.mark.parametrize(
    ("ours", "complaint"),
    [
        ("{probes: {ready: {tcp: {port: 1}, http: {port: 1}}}}", "expected exactly one of command, http, tcp"),
        ("{probes: {ready: {log: '('}}}", "expected a text or a regular expression"),
        ("{probes: {ready: {file: ok}}}", "expected an absolute path in the container, but found 'ok'"),
        ("{on_dependency: {restart: relaod}}", "did you mean 'reload'?"),
        ("{reload: {signal: SIGHUPP}}", "unknown signal 'SIGHUPP'; did you mean 'SIGHUP'?"),
    ],
)
def test_a_mistake_is_told_with_what_was_meant(tmp_path: Path, ours: str, complaint: str) -> None:
    with pytest.raises(Mistake) as caught:
        web(tmp_path, ours)
    assert complaint in str(caught.value)


def test_what_the_stack_says_of_drift_holds_for_its_services(tmp_path: Path) -> None:
    assert web(tmp_path, "{}").healing == Healing()
    assert web(tmp_path, "{}", "x-pyorch: {drift: report}\n").healing.drift == "report"
    assert web(tmp_path, "{drift: heal}", "x-pyorch: {drift: report}\n").healing.drift == "heal"
