"""A child from clone to exec, on either road: its page, its tape, its pipes.

Who shares our memory finds the end of its tape when the gate opens (`Born.release`); a forked interpreter writes that
end itself, in its own root (`_live`).
"""

from __future__ import annotations

import contextlib
import os

from orchestrator.kernel import cgroups, mounting, namespaces, pidfd, walker
from orchestrator.kernel.tape import Strip, Tape, joined
from orchestrator.runtime import accounts, init, registers, rootfs, sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

NETWORKED, GO = b"n", b"1"


class End:
    """What a child becomes at the end of its road."""

    __slots__ = ("might", "name", "process", "reaped")

    def __init__(self, name: str, process: dict[str, Any], might: sandbox.Powers, reaped: bool = False) -> None:
        self.name, self.process, self.might, self.reaped = name, process, might, reaped

    @property
    def looks_inside(self) -> bool:
        """Whether the container's own files must be read for it: a user by name."""
        return accounts.needed(self.process.get("user") or {})

    def strip(self, pid: int) -> Strip:
        """Give everything up, become the program. `pid`: a process in the container's root."""
        user = _user(self.process.get("user") or {}, pid)
        words = user.uid, user.gid, tuple(user.groups)
        cwd, limits = self.process.get("cwd") or "/", self.process.get("rlimits", ())
        confined = rootfs.shared(self.name, _confined, cwd, limits, self.might, *words)
        program = Tape()
        sandbox.run(program, self.process["args"], _environment(self.process, user))
        return joined([confined, program.cut()])

    def strips(self) -> tuple[Strip, Strip]:
        """The same in two, for a walker in Python that lives in the container's root already."""
        confined, program = Tape(), Tape()
        user = accounts.resolve(self.process.get("user") or {})
        cwd, limits = self.process.get("cwd") or "/", self.process.get("rlimits", ())
        sandbox.confine(confined, cwd, limits, self.might, user)
        confined.jump(0)
        sandbox.run(program, self.process["args"], _environment(self.process, user))
        return confined.cut(), program.cut()


def _confined(
    cwd: str, limits: list[dict[str, Any]], might: sandbox.Powers, uid: int, gid: int, groups: tuple[int, ...]
) -> Strip:
    tape = Tape()
    sandbox.confine(tape, cwd, limits, might, accounts.Account(uid, gid, list(groups), ""))
    return tape.cut()


def _user(user: dict[str, Any], pid: int) -> accounts.Account:
    if not accounts.needed(user):
        return accounts.resolve(user)
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return accounts.resolve(user, root)
    finally:
        os.close(root)


def _environment(process: dict[str, Any], user: accounts.Account) -> dict[str, str]:
    environment = dict(entry.partition("=")[::2] for entry in process.get("env", ()))
    environment.setdefault("HOME", user.home)
    return environment


class Born:
    """A process that was just born (or adopted). Who gets it closes `pidfd`, `gate` and `report` (None: not there).

    gate:   `release` opens it, and the waiting child goes on to its program; closing it unopened ends the child.
    report: non-blocking read end. From `create`: b"n" when it stands in its network namespace, b"1" when the sandbox
            stands and the child waits at the gate. At EOF ask `settle`. From `enter`: only the EOF.
    started: its start_time where that is known already.
    cgroup: kernel.cgroups.Group: kill(), remove(), oom_kills(), populated(), pids().
    pid, pidfd: -1 until `known` where the birth was not waited for.
    """

    __slots__ = ("_page", "_place", "cgroup", "end", "gate", "pid", "pidfd", "report", "started")

    def __init__(
        self, pid: int, held: int, gate: int | None, report: int | None, cgroup: cgroups.Group,
        page: walker.Page | None = None,
    ) -> None:  # fmt: skip
        self.started: int | None = None
        self._page = page
        self._place: int | None = None  # see `closes`
        self.end: End | None = None  # still to be written on the tape
        self.pid = pid
        self.pidfd = held
        self.gate = gate
        self.report = report
        self.cgroup = cgroup

    @property
    def start_time(self) -> int:
        """Field 22 of /proc/PID/stat, clock ticks since boot. Ask before the process is reaped (0: too late)."""
        if self.started is None:
            self.started = pidfd.start_time(self.pid) or 0
        return self.started

    def closes(self, place: int) -> bool:
        """Whether it is still to be born in that group, and closes the descriptor then."""
        if self.pid >= 0:
            return False
        self._place = place
        return True

    def known(self) -> None:
        """Wait until it is born. Raises OSError where it could not be: then nothing is left of it."""
        if self.pid >= 0 or self._page is None:
            return
        try:
            self.pid, self.pidfd = walker.known(self._page)
        except OSError:
            walker.give_back(self._page)
            self._page = None
            raise
        finally:
            if self._place is not None:
                os.close(self._place)
                self._place = None

    def foresee(self) -> None:
        """Write the end of its tape while the sandbox is still being built, where that needs nothing of the sandbox.

        What cannot be written stays to be written: `release` meets the same error, and somebody waits for its answer.
        """
        if self.end is not None and not self.end.looks_inside:
            with contextlib.suppress(Exception):
                self._write_end(self.end)

    def release(self) -> None:
        """Let the child that waits at the gate become its program. Raises OSError where that cannot be made ready."""
        assert self.gate is not None
        if self.end is not None:
            self._write_end(self.end)
        os.write(self.gate, GO)

    def _write_end(self, end: End) -> None:
        if self._page is not None:
            strip = end.strip(self.pid)
            self._page.strips.append(strip)
            self._page.registers[registers.NEXT] = strip.address
        self.end = None

    def settle(self) -> str:
        """After EOF of `report`, or the end: why the child did not become its program; "" where it did."""
        if self._page is None:
            return ""
        page, self._page = self._page, None
        failure = page.failure()
        walker.give_back(page)
        return failure.strerror or str(failure) if failure else ""


def bear(
    flags: int,
    cgroup: cgroups.Group,
    place: int | None,
    given: tuple[int, int, int],
    held: int,
    shared: bool,
    beginning: Callable[[int, int], Strip],
    end: End,
    gated: bool = True,
    reported: bool = True,
    network: int = -1,
) -> Born:
    """A child that walks `beginning(report, gate)`; in an interpreter of its own it goes on to `end`.

    Where nothing is reported, its birth is not waited for: see `Born.known`.
    given: the three standard descriptors. held: a pidfd of the container to be born in, -1 for a new one.
    network: a network namespace that is there already.
    """
    report_in, report_out = os.pipe() if reported else (-1, -1)
    gate_in, gate_out = os.pipe() if gated else (-1, -1)
    page = walker.take()
    registers.prepare(page, given, report_out, gate_in, held)
    page.registers[registers.NETWORK] = network
    mounting.prepare(page.registers, page.address)
    try:
        strip = beginning(report_out, gate_in)
        if shared and not reported:
            walker.begin(page, strip, flags, place, held)
            return Born(-1, -1, None, None, cgroup, page)
        if shared:
            pid, its_pidfd = walker.bear(page, strip, flags, place, held)
        else:
            pid, its_pidfd = _fork(flags, cgroup, place, held, page, strip, end)
    except OSError:
        walker.give_back(page)
        for descriptor in (report_in, gate_out):
            if descriptor >= 0:
                os.close(descriptor)
        raise
    finally:
        for descriptor in (report_out, gate_in):
            if descriptor >= 0:
                os.close(descriptor)
    if reported:
        os.set_blocking(report_in, False)
    born = Born(pid, its_pidfd, gate_out if gated else None, report_in if reported else None, cgroup, page)
    born.end = end if shared and gated else None
    return born


def _fork(
    flags: int, cgroup: cgroups.Group, place: int | None, held: int, page: walker.Page, strip: Strip,
    end: End,
) -> tuple[int, int]:  # fmt: skip
    # Only children are born into the namespace set here; the launcher itself never leaves its own.
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    if held >= 0:
        namespaces.join(held, namespaces.NEWPID, "the container")
    try:
        pid, its_pidfd, placed = namespaces.born(flags, place)
        if pid == 0:
            _live(cgroup, place is not None and not placed, page, strip, end)
    finally:
        if held >= 0:
            namespaces.join(own, namespaces.NEWPID, "the launcher")
        os.close(own)
    return pid, its_pidfd


def _live(cgroup: cgroups.Group, outside: bool, page: walker.Page, strip: Strip, end: End) -> NoReturn:
    """The forked child's whole life in this interpreter. It never returns into the launcher's code."""
    try:
        if outside:
            tape = Tape()
            cgroup.enter(tape)
            tape.jump(0)
            walker.walk(page, tape.cut())
        walker.walk(page, strip)
        confined, its_program = end.strips()
        walker.walk(page, confined)  # a pid 1 of ours, too
        if end.reaped:
            os._exit(init.reap(lambda: _start(page, its_program)))
        walker.walk(page, its_program)
    except OSError as error:
        page.say(error.strerror or str(error))
    except BaseException as error:  # a bug of ours: it must not run on as a second launcher
        page.say(f"cannot make the container: {type(error).__name__}: {error}")
    finally:
        os._exit(127)


def _start(page: walker.Page, strip: Strip) -> NoReturn:
    """The program of an own pid 1: it fails on the same page."""
    try:
        walker.walk(page, strip)
    except OSError as error:
        page.say(error.strerror or str(error))
    finally:
        os._exit(127)
