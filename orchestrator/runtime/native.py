"""The native runtime: an OCI runtime spec becomes a process, with nothing between but the kernel.

Called by the launcher, a small single-threaded interpreter whose every page is paid for at each birth: standard
library and `kernel` only. The parent's half is short (`create`, `enter`, `adopt`); what the child does until exec is
one straight road in `sandbox.py`.

Errors are OSError; `error.strerror` is the whole sentence ("cannot …: why"). What goes wrong in the child comes as
such a sentence through `Born.report`.
"""

from __future__ import annotations


class Born:
    """A process that was just born (or adopted). Who gets it closes `pidfd`, `gate` and `report` (None: not there).

    gate:   write b"1" to let the waiting child go on to its program; closing it unwritten ends the child.
    report: non-blocking read end. From `create`: first b"1" when the sandbox stands and the child waits at the gate, or
            an error sentence and EOF. After the gate: EOF = the program runs; otherwise an error sentence, then EOF
            (the child exits by itself with 127 or 126; the reader reaps it). From `enter`: only the second half.
    cgroup: kernel.cgroups.Group: kill(), remove(), oom_kills(), populated(), memory_bytes(), cpu_seconds(), pids().
    start_time: field 22 of /proc/PID/stat, clock ticks since boot.
    """

    __slots__ = ("cgroup", "gate", "pid", "pidfd", "report", "start_time")


def warm() -> None:
    """Once in the launcher's life, before the first birth, when its modules are loaded and its signals are set.

    Makes the process non-dumpable (so that containers can never look into it or a child of it), compiles the default
    seccomp filter, opens what every birth needs, freezes the garbage collector and turns it off.
    """


def create(bundle: str, spec: dict, stdout: int, stderr: int) -> Born:
    """One clone3; returns at once while the child builds its sandbox from `spec` (the bundle's config.json).

    `stdout` and `stderr` stay the caller's to close. The cgroup is made here; where create raises, nothing is left
    behind. After a failure in `report`, or after the end of pid 1, the caller does cgroup.kill() and cgroup.remove().
    """
    raise NotImplementedError


def enter(
    pid: int, pidfd: int, spec: dict, process: dict, stdin: int, stdout: int, stderr: int, tty: bool, cgroup: object
) -> Born:
    """One more process in the container of `pid` (its pid 1, held by `pidfd`), confined as the container itself.

    `process` is an OCI process object (args, env, cwd, user); capabilities, rlimits, seccomp and no_new_privs come
    from `spec` where `process` does not name them. `tty`: stdin is the slave side of a pty and becomes the
    controlling terminal. The caller kills the whole tree of the exec through Born.pidfd and its session/process group
    (the child is the leader of both).
    """
    raise NotImplementedError


def adopt(bundle: str, spec: dict, state: dict) -> Born:
    """The living container of a bundle, after another launcher's death: pidfd and cgroup; no gate, no report.

    Raises ProcessLookupError where the process of `state` ("pid", "start_time") is gone; `group(bundle, spec)` still
    gives what there is to clean up.
    """
    raise NotImplementedError


def group(bundle: str, spec: dict) -> object:
    """The container's cgroup (kernel.cgroups.Group), living or not."""
    raise NotImplementedError
