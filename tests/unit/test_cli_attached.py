"""`up` without -d against an agent that is told what happens: output, Ctrl-C once and twice, ends and aborts."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_agent import FakeAgent, Json, Request, Stream, container, frame, ndjson

DONE = {"type": "done", "ok": True, "failures": [], "seconds": 0.1}
ACCEPTED = {"type": "accepted", "stack": "shop", "revision": 1, "warnings": [], "services": 2}


class Stack:
    """What the agent says of a stack of two services, and what it is asked."""

    def __init__(self, agent: FakeAgent, directory: Path) -> None:
        (directory / "stack.yaml").touch()
        self.agent, self.directory = agent, directory
        self.rows = [container("shop-web-1", "web"), container("shop-db-1", "db")]
        self.events: queue.Queue[bytes | None] = queue.Queue()
        self.output: queue.Queue[bytes | None] = queue.Queue()
        self.stops: queue.Queue[Request] = queue.Queue()
        self.stop_done: queue.Queue[dict[str, Any]] = queue.Queue()
        self.late = b""
        names = json.dumps({"containers": ["shop-web-1", "shop-db-1"]}).encode()
        self.output.put(frame(0, 0, 0, names))
        agent.replies = {
            "/v1/up": lambda _: ndjson(ACCEPTED, DONE),
            "/v1/containers": lambda _: Json(self.rows),
            "/v1/events": lambda _: Stream(until_none(self.events)),
            "/v1/stacks/shop/stop": self._stop,
            "/v1/stacks/shop/logs": lambda request: Stream(
                until_none(self.output) if request.query["follow"] == "1" else [frame(0, 0, 0, names), self.late]
            ),
        }

    def _stop(self, request: Request) -> Stream:
        self.stops.put(request)
        return Stream(json.dumps(self.stop_done.get(timeout=30)).encode() + b"\n" for _ in range(1))

    def ended(self, at: int, code: int) -> None:
        self.rows[at] = {**self.rows[at], "State": "exited", "ExitCode": code}
        self.events.put(b'{"action": "whatever"}\n')

    def up(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.agent.command("up", *words),
            cwd=self.directory,
            env=self.agent.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def until_none(source: queue.Queue[bytes | None]) -> Iterator[bytes]:
    while (piece := source.get()) is not None:
        yield piece


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with FakeAgent(tmp_path) as agent:
        stack = Stack(agent, tmp_path)
        yield stack
        stack.events.put(None)
        stack.output.put(None)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_output_is_followed_until_everything_has_ended_and_nothing_of_it_is_lost(stack: Stack) -> None:
    process = stack.up()
    stack.output.put(frame(1, 0, 10, b"hello\n"))
    assert line(process) == "web-1  | hello\n"
    stack.late = frame(1, 0, 10, b"hello\n") + frame(1, 0, 11, b"last words\n")
    stack.ended(0, 0)
    stack.ended(1, 1)
    out, err = process.communicate(timeout=30)
    assert out == "web-1  | last words\n"
    assert process.returncode == 0
    assert "shop: done" in err


def test_ctrl_c_stops_the_attached_services_in_order(stack: Stack) -> None:
    process = stack.up("web")
    stack.output.put(frame(1, 0, 10, b"hello\n"))
    line(process)
    process.send_signal(signal.SIGINT)
    assert stack.stops.get(timeout=30).body == {"services": ["web"], "grace": None, "no_deps": False}
    stack.output.put(frame(1, 0, 11, b"goodbye\n"))
    assert line(process) == "web-1  | goodbye\n"
    stack.stop_done.put(DONE)
    assert process.wait(30) == 130


def test_a_second_ctrl_c_kills(stack: Stack) -> None:
    process = stack.up()
    stack.output.put(frame(1, 0, 10, b"hello\n"))
    line(process)
    process.send_signal(signal.SIGINT)
    assert stack.stops.get(timeout=30).body["grace"] is None
    process.send_signal(signal.SIGINT)
    assert stack.stops.get(timeout=30).body["grace"] == 0
    stack.stop_done.put(DONE)
    stack.stop_done.put(DONE)
    assert process.wait(30) == 130


def test_the_first_that_ends_stops_the_others_and_gives_its_exit_code(stack: Stack) -> None:
    process = stack.up("--abort-on-container-exit")
    stack.output.put(frame(1, 0, 10, b"hello\n"))
    line(process)
    stack.ended(1, 5)
    assert stack.stops.get(timeout=30).body["services"] == []
    stack.ended(0, 143)
    stack.stop_done.put(DONE)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 5
    assert "shop-db-1 exited with code 5: stopping the others" in err


def test_the_exit_code_may_be_asked_of_one_that_was_stopped(stack: Stack) -> None:
    process = stack.up("--exit-code-from", "web")
    stack.output.put(frame(1, 0, 10, b"hello\n"))
    line(process)
    stack.ended(1, 0)
    stack.stops.get(timeout=30)
    stack.ended(0, 143)
    stack.stop_done.put(DONE)
    assert process.wait(30) == 143


def test_a_failed_up_is_an_error_and_leaves_what_runs(stack: Stack) -> None:
    failed = {"type": "done", "ok": False, "failures": [{"subject": "shop-web-1", "why": "no command"}], "seconds": 1}
    stack.agent.replies["/v1/up"] = lambda _: ndjson(ACCEPTED, failed)
    process = stack.up()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "pyorch: shop-web-1 failed: no command" in err
    assert stack.stops.empty()
