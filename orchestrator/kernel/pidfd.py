"""Processes held by descriptor: never by a number alone, which the kernel gives to somebody else later."""

from __future__ import annotations

import os

from orchestrator.kernel import syscalls


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot (proc(5), /proc/PID/stat field 22). None: there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()  # the command's name may hold anything, ")" included
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19])


def hold(pid: int, started: int | None = None) -> int:
    """A pidfd of the process that has this pid and, where given, began at `started`.

    Raises ProcessLookupError where it is gone, even if another process has its number now.
    """
    pidfd = os.pidfd_open(pid)
    if started is not None and start_time(pid) != started:  # asked after the open: the number cannot change hands now
        os.close(pidfd)
        raise ProcessLookupError(f"cannot hold process {pid}: it ended, another one has its number")
    return pidfd


def signal(pidfd: int, number: int) -> bool:
    """Send it. False: the process is gone already. Raises OSError for a signal that does not exist."""
    result = syscalls.attempt("pidfd_send_signal", pidfd, number, None, 0)
    if result in (0, -3):  # ESRCH
        return result == 0
    raise syscalls.refused(f"send signal {number}", -result)
