"""One more process in a container: a command of the user (pipes or a terminal) or a probe (captured output)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping

from orchestrator.launcher import terminal
from orchestrator.launcher.clients import Refused, Reply
from orchestrator.launcher.container import Container
from orchestrator.launcher.deaths import ending
from orchestrator.launcher.loop import IN, Loop, Timer
from orchestrator.launcher.tree import kill_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.launcher.runtimes import Born, Runtime

    Spec = Callable[[str], dict[str, Any]]  # a container's id → its config.json

MOST_CAPTURED = 32 << 10  # bytes; an event must fit into a packet, however its text is escaped


class Exec:
    """One exec. `over(exec, event or None)` is called once; None: it never ran (the reply said why)."""

    def __init__(
        self, loop: Loop, number: int, container: Container, over: Callable[[Exec, dict[str, Any] | None], None]
    ) -> None:
        self.id = number
        self._loop, self._container, self._over = loop, container, over
        self._born: Born
        self._reply: Reply | None = None
        self._theirs: list[int] = []  # what the client gets with the reply
        self._terminal: int | None = None  # our end of the slave, to resize it
        self._capture: int | None = None
        self._output = bytearray()
        self._most = 0
        self._failure = b""
        self._timer: Timer | None = None
        self._timed_out = False

    def begin(self, runtime: Runtime, spec: Spec, request: Mapping[str, Any], reply: Reply) -> None:
        """The reply is given when the program runs. Raises OSError, Refused: then nothing is left behind."""
        prepared = entrance(runtime, spec, self._container, request)
        timeout = float(request["timeout"]) if request.get("timeout") is not None else None
        tty = bool(request.get("tty"))
        inside: list[int] = []
        try:
            if tty:
                self._open_terminal(request, inside)
            elif request.get("capture") is not None:
                self._open_capture(min(int(request["capture"]), MOST_CAPTURED), inside)
            else:
                self._open_pipes(bool(request.get("stdin")), inside)
            container = self._container
            self._born = runtime.enter(container.pidfd, prepared, inside[0], inside[1], inside[2], container.cgroup)
        except Exception:
            self._close_ours()
            raise
        finally:
            for descriptor in set(inside):
                os.close(descriptor)
        self._reply = reply
        assert self._born.report is not None
        self._loop.watch(self._born.report, IN, lambda _: self._hear_report())
        if timeout is not None:
            self._timer = self._loop.at(time.monotonic() + timeout, self._time_is_up)

    @property
    def pid(self) -> int:
        return self._born.pid

    def _open_terminal(self, request: Mapping[str, Any], inside: list[int]) -> None:
        master, slave = terminal.open_pty(
            self._container.pid, int(request.get("rows") or 24), int(request.get("cols") or 80)
        )
        self._theirs.append(master)
        inside += [slave, slave, slave]
        self._terminal = os.dup(slave)

    def _open_capture(self, most: int, inside: list[int]) -> None:
        self._most = most
        inside.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        self._capture, writer = os.pipe2(os.O_CLOEXEC)
        inside += [writer, writer]
        os.set_blocking(self._capture, False)
        self._loop.watch(self._capture, IN, lambda _: self._read_capture())

    def _open_pipes(self, stdin: bool, inside: list[int]) -> None:
        if stdin:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            inside.append(reader)
            self._theirs.append(writer)
        else:
            inside.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
            self._theirs.append(os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC))
        for _ in range(2):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            inside.append(writer)
            self._theirs.append(reader)

    def _hear_report(self) -> None:
        assert self._born.report is not None
        while True:
            try:
                said = os.read(self._born.report, 4096)
            except BlockingIOError:
                return
            if not said:
                break
            self._failure += said
        self._loop.forget(self._born.report)
        os.close(self._born.report)
        self._born.report = None
        self._failure = self._failure or self._born.settle().encode()
        if not self._reply:
            return
        if self._failure:
            self._reply.refuse(self._failure.decode(errors="replace"))
        else:
            theirs, self._theirs = self._theirs, []
            self._reply.done(theirs, exec=self.id, pid=self.pid)
        self._reply = None

    def _read_capture(self) -> None:
        """What is more than asked for is read all the same: the program must not hang."""
        while self._capture is not None:
            try:
                data = os.read(self._capture, 65536)
            except BlockingIOError:
                return
            self._output += data[: max(0, self._most - len(self._output))]
            if not data:
                self._close_capture()
            if len(data) < 65536:
                return  # a program that floods gets its next turn with the others

    def _close_capture(self) -> None:
        if self._capture is not None:
            self._loop.forget(self._capture)
            os.close(self._capture)
            self._capture = None

    def resize(self, rows: int, columns: int) -> None:
        if self._terminal is None:
            raise Refused(f"cannot resize exec {self.id}: it has no terminal")
        terminal.resize(self._terminal, rows, columns)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._born.pidfd, number)

    def cancel(self) -> None:
        kill_tree(self.pid, self._born.pidfd, self._container.cgroup.processes())

    def _time_is_up(self) -> None:
        self._timed_out = True
        self.cancel()

    def ended(self, status: int) -> None:
        """It is dead. What a grandchild may still write into its pipes is of no interest."""
        if self._born.report is not None:
            self._hear_report()
        self._read_capture()
        if self._timer:
            self._timer.cancel()
        self._close_ours()
        os.close(self._born.pidfd)
        if self._failure:
            self._over(self, None)
            return
        code, number = ending(status)
        event = {"event": "exec-exit", "exec": self.id, "container": self._container.id, "code": code, "signal": number}
        text = bytes(self._output).decode(errors="replace")
        self._over(self, {**event, "timeout": self._timed_out, "output": text})

    def _close_ours(self) -> None:
        self._close_capture()
        for descriptor in [*self._theirs, *([self._terminal] if self._terminal is not None else [])]:
            os.close(descriptor)
        self._theirs.clear()
        self._terminal = None


MOST_ENTRANCES = 4  # kept for one container


def entrance(runtime: Runtime, spec: Spec, container: Container, request: Mapping[str, Any]) -> Any:
    """What the runtime has made ready for this request; kept, since a health check is the same every time."""
    arguments = request.get("args")
    if not isinstance(arguments, list) or not arguments or not all(isinstance(each, str) for each in arguments):
        raise Refused("cannot exec: 'args' must be a list of texts, the command first")
    added = request.get("env") or {}
    if not isinstance(added, dict):
        raise Refused("cannot exec: 'env' must be an object of names and values")
    variables = tuple((str(name), str(value)) for name, value in added.items())
    key = (*arguments, variables, request.get("cwd"), request.get("user"), bool(request.get("tty")))
    if found := container.entrances.get(key):
        return found
    whole = spec(container.id)
    process = _process(whole, arguments, variables, request)
    made = runtime.prepare(container.pid, whole, process, bool(request.get("tty")), container.cgroup)
    if made.lasting:
        if len(container.entrances) >= MOST_ENTRANCES:
            container.entrances.clear()
        container.entrances[key] = made
    return made


def _process(
    spec: Mapping[str, Any], arguments: list[str], added: tuple[tuple[str, str], ...], request: Mapping[str, Any]
) -> dict[str, Any]:
    """The OCI process object: the container's own, with the request's words over it."""
    own = spec.get("process") or {}
    environment = {**dict(entry.partition("=")[::2] for entry in own.get("env", ())), **dict(added)}
    user = request.get("user")
    return {
        "args": arguments,
        "env": [f"{name}={value}" for name, value in environment.items()],
        "cwd": request.get("cwd") or own.get("cwd") or "/",
        # A name is looked up in the container's own /etc/passwd.
        "user": {"uid": 0, "gid": 0, "username": str(user)} if user else own.get("user") or {"uid": 0, "gid": 0},
    }
