"""A runtime without namespaces, behind the launcher's own door: processes as the caller has them, no root needed.

`config.json` is a spec with `process.args`. {"fail": sentence} in its annotations fails the sandbox, {"bug": text}
fails as our own mistakes would.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

from orchestrator.kernel import pidfd


class Group:
    """The processes of a session stand for a control group."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def processes(self) -> list[int]:
        found = []
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == self.leader and fields[0] != b"Z":
                found.append(int(pid))
        return found

    def oom_kills(self) -> int:
        return 0

    def freeze(self) -> bool:
        self._signal(signal.SIGSTOP)
        return True

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        for pid in self.processes():
            os.kill(pid, number)

    def remove(self) -> bool:
        return not self.processes()


class Born:
    def __init__(self, pid: int, gate: int | None, report: int | None, group: int) -> None:
        self.pid, self.gate, self.report, self.cgroup = pid, gate, report, Group(group)
        self.pidfd = os.pidfd_open(pid)
        self.start_time = pidfd.start_time(pid)

    def known(self) -> None:
        pass

    def foresee(self) -> None:
        pass

    def release(self) -> None:
        assert self.gate is not None
        os.write(self.gate, b"1")

    def settle(self) -> str:
        return ""  # what goes wrong is said in the report


class Entrance:
    lasting = True

    def __init__(self, pid: int, process: dict[str, Any]) -> None:
        self.pid, self.process = pid, process


def warm() -> None:
    pass


def make_ready(living: int) -> None:
    pass


def looks_into_others(spec: dict[str, Any]) -> bool:
    return False


def create(bundle: str, spec: dict[str, Any], stdout: int, stderr: int, stdin: int = -1) -> Born:
    sentence = spec["annotations"].get("fail")
    if "bug" in spec["annotations"]:
        raise KeyError(spec["annotations"]["bug"])
    gate, opener = os.pipe2(os.O_CLOEXEC)
    report, reporter = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(report, False)
    pid = os.fork()
    if pid == 0:
        try:
            _close_all_but(gate, stdout, stderr, reporter)  # the launcher's lock, and others' gates
            os.setsid()
            os.write(reporter, (sentence or "1").encode())
            if not sentence and os.read(gate, 1) == b"1":
                _become(spec["process"], os.open("/dev/null", os.O_RDONLY), stdout, stderr, reporter)
        finally:
            os._exit(127)
    os.close(gate)
    os.close(reporter)
    return Born(pid, opener, report, pid)


def _close_all_but(*kept: int) -> None:
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def prepare(pid: int, spec: dict[str, Any], process: dict[str, Any], tty: bool, cgroup: Group) -> Entrance:
    return Entrance(pid, process)


def enter(
    held: int, entrance: Entrance, stdin: int, stdout: int, stderr: int, cgroup: Group, reported: bool = True
) -> Born:
    report, reporter = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(report, False)
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            _become(entrance.process, stdin, stdout, stderr, reporter)
        finally:
            os._exit(127)
    os.close(reporter)
    if not reported:
        os.close(report)
    return Born(child, None, report if reported else None, entrance.pid)


def _become(process: dict[str, Any], stdin: int, stdout: int, stderr: int, reporter: int) -> None:
    for source, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
    environment = dict(entry.partition("=")[::2] for entry in process.get("env", []))
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvpe(process["args"][0], process["args"], {"PATH": os.environ["PATH"], **environment})
    except OSError as error:
        os.write(reporter, f"cannot start: command {process['args'][0]!r}: {error.strerror}".encode())


def adopt(bundle: str, spec: dict[str, Any], state: dict[str, Any]) -> Born:
    os.close(pidfd.hold(state["pid"], state["start_time"]))
    return Born(state["pid"], None, None, state["pid"])


def group(bundle: str, spec: dict[str, Any]) -> Group:
    return Group(-1)
