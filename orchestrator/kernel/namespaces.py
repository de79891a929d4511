"""Being born into new namespaces, and stepping into those of others. man 2 clone, namespaces(7)."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct

from orchestrator.kernel import syscalls

NEWTIME = 0x00000080  # only clone3 takes it
NEWNS = 0x00020000
NEWCGROUP = 0x02000000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWPID = 0x20000000
NEWNET = 0x40000000

_PIDFD = 0x00001000
_CLEAR_SIGHAND = 0x1_0000_0000
_INTO_CGROUP = 0x2_0000_0000
_CLONE_ARGS = struct.Struct("=11Q")  # struct clone_args, linux/sched.h

_pidfd = ctypes.c_int(-1)
_arguments = ctypes.create_string_buffer(_CLONE_ARGS.size)
_size = ctypes.c_long(_CLONE_ARGS.size)
_clone3_missing = False


def available(kind: str) -> bool:
    """Whether this kernel has namespaces of a kind ("net", "time", …)."""
    return os.path.exists(f"/proc/self/ns/{kind}")


def born(flags: int, cgroup: int | None = None) -> tuple[int, int, bool]:
    """Fork into new namespaces: (pid, pidfd, placed), or (0, -1, placed) in the child, which has default signals.

    `cgroup`: descriptor of a v2 group to be born in; `placed` is False where the kernel could not (no clone3: then the
    child enters by itself, lives in its parent's time namespace and inherits its signal handlers).
    Single-threaded callers only: nothing that other threads hold is put right in the child.
    """
    global _clone3_missing
    if not _clone3_missing:
        whole = flags | _PIDFD | _CLEAR_SIGHAND | (_INTO_CGROUP if cgroup is not None else 0)
        _CLONE_ARGS.pack_into(
            _arguments, 0, whole, ctypes.addressof(_pidfd), 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, cgroup or 0
        )
        pid = syscalls.attempt("clone3", _arguments, _size)
        if pid >= 0:
            return pid, _pidfd.value if pid else -1, cgroup is not None
        if pid != -errno.ENOSYS:  # a kernel before 5.3, or a seccomp filter that knows only clone
            raise syscalls.refused("fork into new namespaces", -pid)
        _clone3_missing = True
    whole = (flags & ~NEWTIME) | _PIDFD | signal.SIGCHLD
    pid = syscalls.call("fork into new namespaces", "clone", whole, None, ctypes.byref(_pidfd), None, None)
    return pid, _pidfd.value if pid else -1, False


def unshare(flags: int) -> None:
    syscalls.call("make new namespaces", "unshare", flags)


def join(descriptor: int, kinds: int, what: str) -> None:
    """Step into the namespaces of `kinds` of a pidfd (Linux 5.8), or into the one a namespace file stands for."""
    syscalls.call(f"enter the namespaces of {what}", "setns", descriptor, kinds)
