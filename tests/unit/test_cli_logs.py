"""Frames of the agent as lines on stdout and stderr: prefixes, times, halves of lines, and harmless terminals."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from fake_agent import FakeAgent, Stream, frame

from orchestrator.cli.loglines import Frames, _escaper

MOMENT = 1_700_000_000_123_456_789


def control(*names: str) -> bytes:
    return frame(0, 0, 0, json.dumps({"containers": names}).encode())


TWO = [
    control("shop-db-1", "shop-worker-1"),
    frame(1, 0, MOMENT, b"one\ntwo\n"),
    frame(2, 1, MOMENT + 1, b"oops\n"),
    frame(1, 1, MOMENT + 2, b"fine\n"),
]


def logs(agent: FakeAgent, pieces: list[bytes], *words: str) -> subprocess.CompletedProcess[str]:
    agent.replies["/v1/stacks/shop/logs"] = lambda _: Stream(pieces)
    return agent.pyorch("logs", "-p", "shop", *words)


def test_each_line_has_its_container_before_it_and_its_own_stream(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        ran = logs(agent, TWO)
    assert ran.stdout == "db-1      | one\ndb-1      | two\nworker-1  | fine\n"
    assert ran.stderr == "worker-1  | oops\n"


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
def test_frames_may_be_cut_anywhere(size: int) -> None:
    whole = b"".join(TWO)
    frames = Frames()
    found = [one for at in range(0, len(whole), size) for one in frames.feed(whole[at : at + size])]
    assert found == list(Frames().feed(whole))
    assert [payload for *_, payload in found[1:]] == [b"one\ntwo\n", b"oops\n", b"fine\n"]


def test_without_prefix_bytes_are_left_as_they_are(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        ran = logs(agent, [control("shop-db-1"), frame(1, 0, MOMENT, b"a\x1b[2Jb\r\nhalf")], "--no-log-prefix")
    assert ran.stdout == "a\x1b[2Jb\nhalf", "text mode of the test turns \\r\\n into \\n"


def test_times_stand_before_each_line(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        ran = logs(agent, TWO[:2], "-t")
    assert ran.stdout.splitlines()[1] == "db-1      | 2023-11-14T22:13:20.123456789Z two"


def test_half_a_line_is_ended_before_another_container_speaks(tmp_path: Path) -> None:
    pieces = [control("s-a-1", "s-b-1"), frame(1, 0, 1, b"ha"), frame(1, 0, 2, b"lf"), frame(1, 1, 3, b"whole\n")]
    with FakeAgent(tmp_path) as agent:
        assert logs(agent, pieces).stdout == "s-a-1  | half\ns-b-1  | whole\n"


def test_a_container_that_joins_later_is_named_too(tmp_path: Path) -> None:
    pieces = [control("shop-a-1"), frame(1, 0, 1, b"x\n"), control("shop-a-1", "shop-long-1"), frame(1, 1, 2, b"y\n")]
    with FakeAgent(tmp_path) as agent:
        assert logs(agent, pieces).stdout == "a-1  | x\nlong-1  | y\n"


def test_the_agent_is_asked_for_what_the_user_said(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        logs(agent, TWO, "-f", "--tail", "5", "--since", "10m", "--index", "2", "db", "worker")
        asked = agent.requests[0].query
    assert asked == {"services": "db,worker", "tail": "5", "since": "10m", "follow": "1", "index": "2"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"plain \xc3\xbc\ttab\n", b"plain \xc3\xbc\ttab\n"),
        (b"\x1b[31mred\n", b"\x1b[31mred\x1b[0m\n"),
        (b"\x1b[2Jclear\x1b]0;title\x07\n", rb"\x1b[2Jclear\x1b]0;title\x07" + b"\n"),
        (b"over\rwritten\r\n", b"over\\x0dwritten\r\n"),
        (b"c1 \xc2\x9b31m\n", rb"c1 \xc2\x9b31m" + b"\n"),
        (b"back\x08space\x7f\n", rb"back\x08space\x7f" + b"\n"),
    ],
)
def test_a_log_line_cannot_steer_the_terminal(said: bytes, shown: bytes) -> None:
    assert _escaper()(said) == shown


def test_on_a_terminal_prefixes_are_coloured_and_controls_are_shown(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/stacks/shop/logs"] = lambda _: Stream([control("shop-db-1"), frame(1, 0, 1, b"a\x1b[2J\n")])
        shown = on_terminal(agent.command("logs", "-p", "shop"), agent.environment(TERM="xterm", NO_COLOR=""))
        plain = on_terminal(agent.command("logs", "-p", "shop", "--no-color"), agent.environment(TERM="xterm"))
    assert shown == b"\x1b[36mdb-1  | \x1b[0ma\\x1b[2J\r\n"
    assert plain == b"db-1  | a\\x1b[2J\r\n"


def test_a_reader_that_goes_away_ends_us_quietly(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/stacks/shop/logs"] = lambda _: Stream(
            [control("shop-db-1"), *(frame(1, 0, at, b"x" * 1000 + b"\n") for at in range(1, 2000))]
        )
        ran = subprocess.Popen(
            agent.command("logs", "-p", "shop"),
            env=agent.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert ran.stdout is not None and ran.stderr is not None
        ran.stdout.readline()
        ran.stdout.close()
        assert ran.stderr.read() == b""
        assert ran.wait() == -13, "SIGPIPE, as every filter"


def on_terminal(command: list[str], environment: dict[str, str]) -> bytes:
    """Everything that the command writes to the terminal it runs on."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    said = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: the last who had the terminal open is gone (pty(7))
            break
        if not piece:
            break
        said += piece
    os.close(master)
    process.wait()
    return said
