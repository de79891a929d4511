"""One container from create to exit.

    creating ──sandbox stands──► created ──gate opens──► starting ──exec──► running ──pid 1 ends──► gone
        └────────────── cannot …: why ──────────────────────┘ (no exit.json: it never ran)

What others must know is in the bundle, replaced by rename: `state.json` while it lives, `exit.json` once it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from orchestrator.launcher.clients import Refused, Reply
from orchestrator.launcher.deaths import ending
from orchestrator.launcher.loop import IN, Loop, Timer
from orchestrator.runtime.log import SEGMENT_BYTES, SEGMENTS, Stream

PIPES = {1: "stdout", 2: "stderr"}
REST = 0.002  # seconds that a busy stream is left alone, so that the next bite is larger
MOVED_IN_A_REST = 16 << 10  # more than this in so short a time would fill a usual pipe during a rest


class Born(Protocol):
    """runtime.native.Born: a process that was just born, or adopted."""

    pid: int
    pidfd: int
    start_time: int
    gate: int | None
    report: int | None

    @property
    def cgroup(self) -> Group: ...


class Group(Protocol):
    """kernel.cgroups.Group: what the launcher asks of a container's control group."""

    def processes(self) -> list[int]: ...
    def oom_kills(self) -> int: ...
    def kill(self) -> None: ...
    def remove(self) -> bool: ...


class Runtime(Protocol):
    """What the launcher asks of `runtime.native`; the tests have one without namespaces."""

    def warm(self) -> None: ...
    def create(self, bundle: str, spec: dict[str, Any], stdout: int, stderr: int) -> Born: ...
    def enter(
        self, pid: int, held: int, spec: dict[str, Any], process: dict[str, Any],
        stdin: int, stdout: int, stderr: int, tty: bool, cgroup: Any,
    ) -> Born: ...  # fmt: skip
    def adopt(self, bundle: str, spec: dict[str, Any], state: dict[str, Any]) -> Born: ...
    def group(self, bundle: str, spec: dict[str, Any]) -> Group: ...


def read_json(path: str) -> Any:
    """None where the file is not there. Raises Refused where it is not JSON."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Refused(f"cannot read {path}: not JSON: {error}") from error


def write_json(path: str, value: Mapping[str, Any]) -> None:
    """By rename: a reader sees the whole old file or the whole new one."""
    file = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, json.dumps(value).encode())
    finally:
        os.close(file)
    os.rename(path + ".new", path)


def remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


class Output:
    """The two streams of one container: the FIFOs in its bundle and where what they bring is kept."""

    __slots__ = ("_last", "_loop", "_resting", "_streams", "container_ends")

    def __init__(self, loop: Loop, bundle: str, spec: Mapping[str, Any], default_directory: str) -> None:
        notes = spec.get("annotations") or {}
        directory = notes.get("org.pyorch.log") or default_directory
        os.makedirs(directory, exist_ok=True)
        self._loop = loop
        self._streams: list[Stream] = []
        self._resting: dict[int, Timer] = {}
        self._last: dict[int, float] = {}
        self.container_ends: list[int] = []
        try:
            for number, name in PIPES.items():
                path = os.path.join(bundle, name)
                with contextlib.suppress(FileExistsError):
                    os.mkfifo(path, 0o600)
                # Read and write on both sides: the container never sees a pipe without reader (EPIPE) while no
                # launcher is there, and the launcher never one without writer.
                fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                stream = Stream(
                    directory, number, fifo, _complain,
                    segment_bytes=_number(notes, "org.pyorch.log.max_size", SEGMENT_BYTES),
                    segments_kept=_number(notes, "org.pyorch.log.max_files", SEGMENTS),
                )  # fmt: skip
                self._streams.append(stream)
                self.container_ends.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
                self._loop.watch(fifo, IN, lambda _, stream=stream: self._take(stream))  # type: ignore[misc]
        except OSError:
            self.close_container_ends()
            self.close()
            raise

    def close_container_ends(self) -> None:
        while self.container_ends:
            os.close(self.container_ends.pop())

    def _take(self, stream: Stream) -> None:
        moved, now = stream.drain(time.time_ns()), time.monotonic()
        busy = now - self._last.get(stream.fifo, 0.0) < 2 * REST
        self._last[stream.fifo] = now
        if moved and busy and (moved < MOVED_IN_A_REST or stream.widen()):
            if stream.fifo not in self._resting:
                self._loop.change(stream.fifo, 0)
            self._resting[stream.fifo] = self._loop.at(now + REST, lambda: self._take(stream))
        elif self._resting.pop(stream.fifo, None):
            self._loop.change(stream.fifo, IN)

    def close(self) -> None:
        """To the last byte: called when nobody is left who could write."""
        for timer in self._resting.values():
            timer.cancel()
        for stream in self._streams:
            self._loop.forget(stream.fifo)
            stream.close(time.time_ns())
        self._streams.clear()


class Container:
    """A container that lives. `gone(container)` is called once, when nothing of it is left but its files."""

    __slots__ = (
        "_born", "_created", "_failure", "_gone", "_loop", "_oom_kills", "_output", "_reply", "_started",
        "bundle", "exit", "id", "owed", "status",
    )  # fmt: skip

    def __init__(self, loop: Loop, name: str, bundle: str, gone: Callable[[Container], None]) -> None:
        self.id, self.bundle = name, bundle
        self.status = "creating"
        self.exit: dict[str, Any] | None = None  # what exit.json says, once it ended
        self.owed: list[Reply] = []  # deletes that wait for the end
        self._loop, self._gone = loop, gone
        self._output: Output
        self._born: Born
        self._reply: Reply | None = None
        self._failure = b""
        self._created = time.monotonic()
        self._started: float | None = None
        self._oom_kills = 0

    # birth

    def create(self, runtime: Runtime, spec: dict[str, Any], log_directory: str, reply: Reply) -> None:
        """Returns while the sandbox is being built; the reply is given when it stands. Raises OSError, Refused."""
        remove(self._path("exit.json"))
        self._output = Output(self._loop, self.bundle, spec, log_directory)
        try:
            self._born = runtime.create(self.bundle, spec, *self._output.container_ends)
        except OSError:
            self._output.close()
            raise
        finally:
            self._output.close_container_ends()
        self._reply = reply
        self._oom_kills = self._count_oom_kills()
        self._write_state("created")
        assert self._born.report is not None
        self._loop.watch(self._born.report, IN, lambda _: self._hear_report())

    def adopt(self, born: Born, spec: dict[str, Any], state: Mapping[str, Any], log_directory: str) -> None:
        """A container of a launcher that died: pid and start time are those of its state.json."""
        self._born = born
        self._output = Output(self._loop, self.bundle, spec, log_directory)
        self._output.close_container_ends()
        self._created, self._started, self.status = state["created"], state["started"], "running"

    @property
    def pid(self) -> int:
        return self._born.pid

    @property
    def start_time(self) -> int:
        return self._born.start_time

    @property
    def pidfd(self) -> int:
        return self._born.pidfd

    @property
    def cgroup(self) -> Group:
        return self._born.cgroup

    def start(self, reply: Reply) -> None:
        """Opens the gate; the reply is given when the program runs. Raises Refused."""
        if self.status != "created":
            raise Refused(f"cannot start {self.id}: it is {self.status}")
        self._reply, self.status, self._started = reply, "starting", time.monotonic()
        # Before the gate opens: a launcher killed in between must not take a running program for one that waits.
        self._write_state("running")
        with contextlib.suppress(BrokenPipeError):  # it died at the gate: its report, or its end, says so
            assert self._born.gate is not None
            os.write(self._born.gate, b"1")
        self._close("gate")

    def _hear_report(self) -> None:
        assert self._born.report is not None
        while True:
            try:
                said = os.read(self._born.report, 4096)
            except BlockingIOError:
                return
            if said == b"1" and self.status == "creating":
                self.status = "created"
                self._answer(pid=self.pid)
            elif said:
                self._failure += said
            else:
                break
        self._loop.forget(self._born.report)
        self._close("report")
        if self.status == "starting" and not self._failure:
            self.status = "running"
            self._answer(pid=self.pid, started=self._started)
        else:
            self._failure = self._failure or f"cannot create {self.id}: its first process died".encode()
            self.signal(signal.SIGKILL)  # the answer is given when nothing is left

    def _answer(self, **fields: Any) -> None:
        if self._reply:
            self._reply.done(**fields)
        self._reply = None

    # life

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def signal_all(self, number: int) -> None:
        for pid in self.cgroup.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill_all(self) -> None:
        self.signal(signal.SIGKILL)
        self.cgroup.kill()

    # end

    def ended(self, status: int | None) -> None:
        """Pid 1 is dead (`status` as waitpid(2) gives it; None: nobody can know), and with it its pid namespace."""
        if self._born.report is not None:
            self._hear_report()  # what it said before it died
        at = time.monotonic()
        code, number = ending(status) if status is not None else (None, None)
        oom = number == signal.SIGKILL and self._count_oom_kills() > self._oom_kills
        self._output.close()
        for name in ("gate", "report", "pidfd"):
            self._close(name)
        if self.status == "running":
            self.exit = {"code": code, "signal": number, "oom": oom, "started": self._started, "at": at}
            write_json(self._path("exit.json"), self.exit)
        remove(self._path("state.json"))
        self.status = "gone"
        self._remove_cgroup(at + 2)

    def _remove_cgroup(self, until: float) -> None:
        """Then says that it is gone. The kernel may need a moment more (EBUSY) until the last process has left."""
        try:
            self.cgroup.kill()
            if not self.cgroup.remove():
                if time.monotonic() < until:
                    self._loop.at(time.monotonic() + REST, lambda: self._remove_cgroup(until))
                    return
                _complain(f"cannot remove the cgroup of {self.id}: a process in it does not end")
        except OSError as error:
            _complain(f"cannot remove the cgroup of {self.id}: {error.strerror}")
        if self._reply:
            sentence = self._failure.decode(errors="replace") or f"cannot start {self.id}: it was killed before it ran"
            self._reply.refuse(sentence)
        self._gone(self)

    def _count_oom_kills(self) -> int:
        try:
            return int(self.cgroup.oom_kills())
        except OSError:  # no such controller: then nobody was killed by its limit
            return 0

    def _close(self, name: str) -> None:
        descriptor = getattr(self._born, name)
        if descriptor is not None and descriptor >= 0:
            os.close(descriptor)
        setattr(self._born, name, None)

    def _path(self, name: str) -> str:
        return os.path.join(self.bundle, name)

    def _write_state(self, status: str) -> None:
        state = {"id": self.id, "pid": self.pid, "start_time": self._born.start_time, "status": status}
        write_json(self._path("state.json"), {**state, "created": self._created, "started": self._started})


def _number(notes: Mapping[str, str], key: str, default: int) -> int:
    try:
        return int(notes.get(key, default))
    except ValueError:
        raise Refused(f"cannot use annotation {key}={notes[key]!r}: not a number") from None


def _complain(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
