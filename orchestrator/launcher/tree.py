"""Killing a process with everything it has started: stopped first, so that it cannot start more meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable


def kill_tree(leader: int, pidfd: int, neighbours: Iterable[int]) -> None:
    """`leader` (held by `pidfd`), all its descendants, and those of `neighbours` that belong to its session.

    `neighbours`: pids that may hold orphans of the tree, the processes of the container's cgroup. One that has left
    both the tree and the session is a daemon of its own; it ends with the container.
    """
    held: list[int] = []
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
    _stop(children(leader), held)
    _stop([pid for pid in neighbours if pid != leader and session(pid) == leader], held)
    for each in [pidfd, *held]:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(each, signal.SIGKILL)
    for each in held:
        os.close(each)


def _stop(pids: list[int], held: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            held.append(pidfd)
            signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
            _stop(children(pid), held)


def children(pid: int) -> list[int]:
    """Of all its threads (proc(5), /proc/PID/task/TID/children)."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
    return found


def session(pid: int) -> int | None:
    """proc(5), /proc/PID/stat field 6, as this pid namespace counts. None: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return None
