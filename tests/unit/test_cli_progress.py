"""Progress on a terminal: one line a subject, redrawn in place, whatever the terminal's size."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import termios
from fcntl import ioctl
from pathlib import Path
from typing import Any

from fake_agent import FakeAgent, ndjson

ACCEPTED = {"type": "accepted", "stack": "shop", "revision": 1, "warnings": [], "services": 2}
DONE = {"type": "done", "ok": True, "failures": [], "seconds": 0.1}


def state(subject: str, state: str, health: str = "") -> dict[str, Any]:
    return {"type": "state", "subject": subject, "service": "x", "state": state, "health": health}


def action(verb: str, subject: str, why: str) -> dict[str, Any]:
    return {"type": "action", "verb": verb, "subject": subject, "why": why, "text": ""}


def screen(tmp_path: Path, messages: list[dict[str, Any]], rows: int = 24, columns: int = 80) -> list[str]:
    """What stands on the terminal in the end."""
    (tmp_path / "stack.yaml").touch()
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/up"] = lambda _: ndjson(ACCEPTED, *messages)
        master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = agent.environment(TERM="xterm")
        process = subprocess.Popen(agent.command("up", "-d"), cwd=tmp_path, env=environment, stderr=slave)
        os.close(slave)
        said = everything(master)
        process.wait()
    return drawn(said.decode())


def everything(master: int) -> bytes:
    said = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: the last who had the terminal open is gone (pty(7))
            break
        said += piece
    os.close(master)
    return said


def drawn(text: str) -> list[str]:
    """A terminal of as much as we use: newline, cursor up, erase to the end of line or screen; colours are dropped."""
    lines, at = [""], 0
    for token in re.findall(r"\x1b\[\d*[AJK]|\r\n|[^\x1b\r]+", re.sub(r"\x1b\[\d*m", "", text)):
        if token == "\r\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif token.endswith("A") and token.startswith("\x1b"):
            at -= int(token[2:-1])
        elif token == "\x1b[J":
            lines = [*lines[:at], ""]
        elif token != "\x1b[K":
            lines[at] = token
    return [line for line in lines if line]


def test_a_subject_keeps_its_line_while_its_state_changes(tmp_path: Path) -> None:
    shown = screen(
        tmp_path,
        [
            action("start", "shop-db-1", "missing"),
            {"type": "hold", "subject": "shop-web-1", "why": "needs db healthy"},
            state("shop-db-1", "running"),
            state("shop-db-1", "running", "healthy"),
            action("start", "shop-web-1", "missing"),
            state("shop-web-1", "running"),
            DONE,
        ],
    )
    assert shown == ["shop-db-1   healthy", "shop-web-1  started", "shop: done in 0.10 s"]


def test_what_was_the_case_before_a_deed_is_not_told_as_its_result(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").touch()
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/up"] = lambda _: ndjson(
            ACCEPTED,
            action("stop", "shop-db-1", "image changed"),
            state("shop-db-1", "running", "healthy"),
            state("shop-db-1", "exited"),
            DONE,
        )
        told = agent.pyorch("up", "-d", cwd=tmp_path).stderr.splitlines()
    assert told == ["shop-db-1  stopping: image changed", "shop-db-1  exited", "shop: done in 0.10 s"]


def test_more_subjects_than_lines_leave_room_for_the_unfinished(tmp_path: Path) -> None:
    many = [state(f"shop-s{number}-1", "running") for number in range(30)]
    failed = {**DONE, "ok": False, "failures": [{"subject": "shop-s7-1", "why": "exit code 1"}]}
    assert screen(tmp_path, [*many, failed], rows=10) == [
        "shop-s7-1  failed",
        "pyorch: shop-s7-1 failed: exit code 1",
    ]


def test_a_line_longer_than_the_terminal_is_cut_not_wrapped(tmp_path: Path) -> None:
    hold = {"type": "hold", "subject": "shop-web-1", "why": "x" * 300}
    assert max(map(len, screen(tmp_path, [hold, state("shop-web-1", "running"), DONE], columns=40))) < 40
