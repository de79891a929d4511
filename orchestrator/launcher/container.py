"""One container from create to exit.

    creating ──sandbox stands──► created ──gate opens──► starting ──exec──► running ──pid 1 ends──► gone
        └────────────── cannot …: why ──────────────────────┘ (no exit.json: it never ran)

Who gives it its network may do so while the sandbox is still being built (`early`), and ask for its start then.

What others must know is in the bundle, replaced by rename: `state.json` while it lives, `exit.json` once it ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from orchestrator.launcher import inputs
from orchestrator.launcher.clients import Refused, Reply
from orchestrator.launcher.deaths import ending
from orchestrator.launcher.files import remove, write_json
from orchestrator.launcher.loop import IN, Loop
from orchestrator.launcher.output import Output, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.launcher.checks import Check
    from orchestrator.launcher.runtimes import Born, Group, Runtime

NETWORKED, STANDS = b"n", b"1"  # what a newborn reports, see `runtime.births`
MALFORMED = (TypeError, ValueError, OverflowError, KeyError, AttributeError)  # what a config.json may lead to
STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
COME_AGAIN = 0.002  # seconds until a cgroup that was not empty yet is looked at again
HARMLESS = frozenset({0, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, *STOPPING})
PATIENCE = 2.0  # seconds, then it is left, and said so


class Container:
    """A container that lives. `gone(container)` is called once, when nothing of it is left but its files."""

    __slots__ = (
        "_born", "_created", "_early", "_failure", "_gone", "_loop", "_oom_kills", "_output", "_reply", "_started",
        "_terminal", "_to_start", "_told", "_tty", "bundle", "checks", "entrances", "exit", "id", "owed", "paused",
        "status", "unsaid",
    )  # fmt: skip

    def __init__(self, loop: Loop, name: str, bundle: str, gone: Callable[[Container], None]) -> None:
        self.id, self.bundle = name, bundle
        self.status = "creating"
        self.exit: dict[str, Any] | None = None  # what exit.json says, once it ended
        self.owed: list[Reply] = []  # deletes that wait for the end
        self.entrances: dict[object, Any] = {}  # execs made ready, see `execs.entrance`
        self.checks: dict[str, Check] = {}  # by what they are called: those that are asked again and again
        self.paused = False
        self._loop, self._gone = loop, gone
        self._output: Output
        self._terminal: inputs.Terminal | None = None
        self._tty = False
        self._born: Born
        self._reply: Reply | None = None
        self._early = False  # who asked for it is told as soon as its network namespace is there
        self._told = False
        self._to_start = False  # the reply that is owed is that of a start
        self.unsaid = ""  # why it failed, where nobody waited for an answer just then
        self._failure = b""
        self._created = time.monotonic()
        self._started: float | None = None
        self._oom_kills = 0

    # birth

    def create(
        self, runtime: Runtime, spec: dict[str, Any], log_directory: str, reply: Reply, early: bool = False
    ) -> None:
        """Returns while the sandbox is being built; the reply is given when it stands. Raises OSError, Refused.

        early: the reply is given when its network namespace is there (it has a terminal: when that is there, too).
        """
        remove(self._path("exit.json"))
        self._output = Output(self._loop, self.bundle, spec, log_directory)
        self._tty = bool(spec["process"].get("terminal"))
        self._early = early and not self._tty
        stdin = inputs.stdin_for(self.bundle, spec)
        try:
            stdout, stderr = self._output.container_ends
            self._born = runtime.create(self.bundle, spec, stdout, stderr, stdin)
        except Exception:
            self._output.close()
            raise
        finally:
            self._output.close_container_ends()
            if stdin >= 0:
                os.close(stdin)
        self._reply = reply
        self._oom_kills = self._count_oom_kills()
        assert self._born.report is not None
        self._loop.watch(self._born.report, IN, lambda _: self._hear_report())
        try:
            self._write_state("created")
        except OSError as error:  # a container that a successor could not find must not be
            self._failure = f"cannot write {self._path('state.json')}: {error.strerror}".encode()
            self.signal(signal.SIGKILL)
        self._hear_report()

    def foresee(self) -> None:
        """What can be done for its start while its sandbox is being built."""
        self._born.foresee()

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
        """Opens the gate once the sandbox stands; the reply is given when the program runs.

        Raises Refused, and OSError where it cannot be noted that it runs: then it waits on.
        """
        if self._is_awaited(reply):
            self._to_start = True
            return
        if self.status != "created":
            raise Refused(f"cannot start {self.id}: it is {self.status}")
        self._open_gate()
        self._reply = reply

    def stands(self, reply: Reply) -> None:
        """The reply is given when the sandbox stands, for who was told of the container early."""
        if not self._is_awaited(reply):
            reply.done(pid=self.pid)

    def _is_awaited(self, reply: Reply) -> bool:
        """Whether `reply` now waits for the sandbox."""
        if self.status != "creating" or not self._told or self._reply:
            return False
        self._reply = reply
        return True

    def _open_gate(self) -> None:
        self._started = time.monotonic()
        # Before the gate opens: a launcher killed in between must not take a running program for one that waits.
        self._write_state("running")
        self.status = "starting"
        try:
            self._born.release()
        except BrokenPipeError:  # it died at the gate: its report, or its end, says so
            pass
        except OSError as error:
            why = error.strerror or str(error)
            self._failure = (why if why.startswith("cannot") else f"cannot start {self.id}: {why}").encode()
            self.signal(signal.SIGKILL)
        except MALFORMED as error:
            self._failure = f"cannot start {self.id}: its config.json is not as expected: {error!r}".encode()
            self.signal(signal.SIGKILL)
        self._close("gate")

    def _hear_report(self) -> None:
        assert self._born.report is not None
        while True:
            try:
                said = os.read(self._born.report, 4096)
            except BlockingIOError:
                return
            if not said:
                break
            if self.status == "creating" and not self._failure:
                said = self._hear_progress(said)
            self._failure += said
        self._loop.forget(self._born.report)
        self._close("report")
        self._failure = self._failure or self._born.settle().encode()
        if self.status == "starting" and not self._failure:
            self.status = "running"
            self._answer(pid=self.pid, started=self._started)
        else:
            self._failure = self._failure or f"cannot create {self.id}: its first process died".encode()
            self.signal(signal.SIGKILL)  # the answer is given when nothing is left

    def _hear_progress(self, said: bytes) -> bytes:
        """How far its birth is; returns what was said besides."""
        if said.startswith(NETWORKED):
            said = said[len(NETWORKED) :]
            if self._early:
                self._told = True
                self._answer(pid=self.pid)
        if said.startswith(STANDS):
            said = said[len(STANDS) :]
            self.status = "created"
            if not self._told:
                self._created_now()
            elif self._to_start:
                self._start_now()
            else:
                self._answer(pid=self.pid)
        return said

    def _start_now(self) -> None:
        try:
            self._open_gate()
        except OSError as error:
            if self._reply:
                self._reply.refuse(f"cannot start {self.id}: {error.strerror}", "host-refused")
            self._reply = None

    def _created_now(self) -> None:
        """Where it is to have a terminal, that is made now, before the program looks for it."""
        self._told = True
        if not self._tty:
            self._answer(pid=self.pid)
            return
        try:
            self._terminal = inputs.Terminal.opened(self._loop, self.bundle, self.pid)
        except OSError as error:
            self._failure = f"cannot give {self.id} a terminal: {error.strerror}".encode()
            self.signal(signal.SIGKILL)
        else:
            self._answer([os.dup(self._terminal.master)], pid=self.pid)

    def take_terminal(self, descriptors: list[int]) -> None:
        """The terminal of a container that another launcher made, from who kept it meanwhile."""
        if self._terminal is None and descriptors:
            self._terminal = inputs.Terminal(self._loop, self.bundle, descriptors.pop(0))

    def terminal(self) -> list[int]:
        """A descriptor of it for somebody else; none where it has no terminal, or its master died with a launcher."""
        return [os.dup(self._terminal.master)] if self._terminal else []

    def _answer(self, descriptors: Sequence[int] = (), **fields: Any) -> None:
        if self._reply:
            self._reply.done(descriptors, **fields)
        self._reply = None

    # life

    def signal(self, number: int) -> None:
        """Send pid 1 a signal. The kernel spares every pid 1 those that it does not await (pid_namespaces(7)), and a
        program that never thought of SIGTERM would run on until its grace is over; here it ends, as everywhere else.
        """
        if number not in HARMLESS and not awaits(self._born.pid, number):
            number = signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def signal_all(self, number: int) -> None:
        for pid in self.cgroup.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def pause(self, reply: Reply, until: float) -> None:
        """The reply is given when all of it stands still."""
        self.paused = True
        if self.status == "gone":
            reply.refuse(f"cannot pause {self.id}: it has ended")
        elif self.cgroup.freeze():
            reply.done()
        elif time.monotonic() < until:
            self._loop.at(time.monotonic() + COME_AGAIN, lambda: self.pause(reply, until))
        else:
            self.unpause()
            reply.refuse(f"cannot pause {self.id}: not all of its processes stop")

    def unpause(self) -> None:
        self.paused = False
        self.cgroup.thaw()

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
        killed = number == signal.SIGKILL or code == 128 + signal.SIGKILL  # a shell tells so that its child was
        oom = killed and self._count_oom_kills() > self._oom_kills
        if self._terminal:
            self._terminal.close(self._output.drain)  # what it still holds is output, too
        self._output.close()
        for name in ("gate", "report", "pidfd"):
            self._close(name)
        try:
            if self.status == "running":
                self.exit = {"code": code, "signal": number, "oom": oom, "started": self._started, "at": at}
                write_json(self._path("exit.json"), self.exit)
            remove(self._path("state.json"))
        except OSError as error:  # told all the same; a successor finds a state.json of nobody, and an unknown end
            complain(f"cannot write {self._path('exit.json')}: {error.strerror}")
        self.status = "gone"
        self._remove_cgroup(at + PATIENCE)

    def _remove_cgroup(self, until: float) -> None:
        """Then says that it is gone. The kernel may need a moment more (EBUSY) until the last process has left."""
        try:
            self.cgroup.kill()
            if not self.cgroup.remove():
                if time.monotonic() < until:
                    self._loop.at(time.monotonic() + COME_AGAIN, lambda: self._remove_cgroup(until))
                    return
                complain(f"cannot remove the cgroup of {self.id}: a process in it does not end")
        except OSError as error:
            complain(f"cannot remove the cgroup of {self.id}: {error.strerror}")
        sentence = self._failure.decode(errors="replace")
        if self._reply:
            self._reply.refuse(sentence or f"cannot start {self.id}: it was killed before it ran")
        else:
            self.unsaid = sentence
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


def awaits(pid: int, number: int) -> bool:
    """Whether a process handles, ignores or blocks a signal (SigCgt, SigIgn, SigBlk of proc(5)); True once it ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as lines:
            masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return any(mask >> (number - 1) & 1 for mask in masks)
