"""exec against a container that is a thread: streams, exit codes, floods both ways, and a real terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path

import pytest
from fake_agent import FakeAgent, Upgrade

STDIN, STDOUT, STDERR, EXIT, RESIZE, STDIN_END = range(6)


def frame(kind: int, data: bytes = b"") -> bytes:
    return struct.pack(">BI", kind, len(data)) + data


def exit_with(code: int) -> bytes:
    return frame(EXIT, json.dumps({"code": code}).encode())


def frames(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    data = b""
    while piece := connection.recv(65536):
        data += piece
        while len(data) >= 5 and len(data) >= 5 + (length := struct.unpack(">I", data[1:5])[0]):
            yield data[0], data[5 : 5 + length]
            data = data[5 + length :]


def serving(agent: FakeAgent, container: Callable[[socket.socket], None]) -> None:
    agent.replies["/v1/stacks/shop/exec"] = lambda _: Upgrade(container)


def test_streams_stay_apart_and_the_exit_code_is_ours(tmp_path: Path) -> None:
    def container(connection: socket.socket) -> None:
        connection.sendall(frame(STDOUT, b"out") + frame(STDERR, b"err") + exit_with(42))

    with FakeAgent(tmp_path) as agent:
        serving(agent, container)
        words = ["exec", "-p", "shop", "-T", "-e", "A=1", "-e", "SET", "-e", "UNSET", "-u", "nobody", "-w", "/tmp"]
        ran = agent.pyorch(*words, "db", "sh", "-c", "exit 42", env=agent.environment(SET="yes"))
        body = agent.requests[0].body
    assert (ran.returncode, ran.stdout, ran.stderr) == (42, "out", "err")
    assert body["command"] == ["sh", "-c", "exit 42"]
    assert body["environment"] == {"A": "1", "SET": "yes"}
    assert (body["service"], body["user"], body["working_dir"], body["tty"]) == ("db", "nobody", "/tmp", False)


def echo(connection: socket.socket) -> None:
    """cat: back goes what comes, until the end of stdin."""
    for kind, data in frames(connection):
        if kind == STDIN_END:
            connection.sendall(exit_with(0))
            return
        connection.sendall(frame(STDOUT, data))


def test_a_flood_both_ways_does_not_lock_up(tmp_path: Path) -> None:
    flood = os.urandom(4 << 20)
    with FakeAgent(tmp_path) as agent:
        serving(agent, echo)
        ran = agent.pyorch("exec", "-p", "shop", "-T", "db", "cat", input=flood, text=False)
    assert ran.returncode == 0
    assert ran.stdout == flood


def test_a_command_that_ends_before_it_read_its_stdin(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        serving(agent, lambda connection: connection.sendall(exit_with(3)))
        ran = agent.pyorch("exec", "-p", "shop", "db", "true", input=b"x" * (1 << 20), text=False)
    assert ran.returncode == 3


def test_a_closed_stdin_is_an_empty_one(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        serving(agent, echo)
        command = agent.command("exec", "-p", "shop", "db", "cat")
        ran = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *command], env=agent.environment(), timeout=30)
    assert ran.returncode == 0


def test_an_agent_that_dies_meanwhile_is_no_exit_code_of_the_command(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        serving(agent, lambda connection: connection.sendall(frame(STDOUT, b"so far")))
        ran = agent.pyorch("exec", "-p", "shop", "db", "true", stdin=subprocess.DEVNULL)
    assert (ran.returncode, ran.stdout) == (3, "so far")
    assert ran.stderr.startswith("pyorch: cannot say how the command ended")


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    yield master, slave
    os.close(master)
    os.close(slave)


def test_on_a_terminal_keys_and_sizes_go_through_and_it_is_left_as_it_was(
    tmp_path: Path, terminal: tuple[int, int]
) -> None:
    master, slave = terminal
    resized: list[dict[str, int]] = []
    raw = threading.Event()

    def container(connection: socket.socket) -> None:
        raw.set()
        for kind, data in frames(connection):
            if kind == RESIZE:
                resized.append(json.loads(data))
                connection.sendall(frame(STDOUT, b"resized\r\n"))
            elif data == b"\x03":  # Ctrl-C is a key of the container's, no signal of ours
                connection.sendall(exit_with(7))
                return

    before = termios.tcgetattr(slave)
    with FakeAgent(tmp_path) as agent:
        serving(agent, container)
        process = subprocess.Popen(
            agent.command("exec", "-p", "shop", "db", "sh"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=agent.environment(),
            start_new_session=True,
        )
        assert raw.wait(30)
        while termios.tcgetattr(slave)[3] & termios.ICANON:
            os.sched_yield()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
        process.send_signal(signal.SIGWINCH)
        said = b""
        while b"resized" not in said:
            said += os.read(master, 1000)
        os.write(master, b"\x03")
        assert process.wait(30) == 7
        body = agent.requests[0].body
    assert (body["tty"], body["rows"], body["cols"]) == (True, 40, 100)
    assert resized[-1] == {"rows": 50, "cols": 132}
    assert termios.tcgetattr(slave) == before
