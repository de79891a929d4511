"""The one door to the kernel's raw system calls: errno becomes an OSError that says what was tried.

Called through ctypes.PyDLL, which keeps the interpreter lock: after a raw clone the child has the only thread and the
lock is where it must be. Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Argument = ctypes.Array[ctypes.c_char] | ctypes._SimpleCData[Any] | ctypes._CArgObject

_X86_64 = {
    "clone": 56, "mount": 165, "umount2": 166, "pivot_root": 155, "sethostname": 170, "capget": 125, "capset": 126,
    "prctl": 157, "keyctl": 250, "unshare": 272, "setns": 308, "seccomp": 317, "bpf": 321, "splice": 275,
    "rt_sigaction": 13, "rt_sigprocmask": 14, "syncfs": 306,
}  # fmt: skip
_GENERIC = {
    "clone": 220, "mount": 40, "umount2": 39, "pivot_root": 41, "sethostname": 161, "capget": 90, "capset": 91,
    "prctl": 167, "keyctl": 219, "unshare": 97, "setns": 268, "seccomp": 277, "bpf": 280, "splice": 76,
    "rt_sigaction": 134, "rt_sigprocmask": 135, "syncfs": 267,
}  # fmt: skip
_EVERYWHERE = {
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437, "mount_setattr": 442,
}  # fmt: skip

MACHINE = os.uname().machine
NUMBERS = {**(_X86_64 if MACHINE == "x86_64" else _GENERIC), **_EVERYWHERE}

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000

_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_get_errno = ctypes.get_errno


def attempt(name: str, *arguments: int | bytes | Argument | None) -> int:
    """The call's result, or minus its errno. Integers of up to 32 bits, bytes, buffers and None go in as they are."""
    result: int = _syscall(NUMBERS[name], *arguments)
    return result if result != -1 else -_get_errno()


def call(what: str, name: str, *arguments: int | bytes | Argument | None) -> int:
    """The call's result. Raises OSError "cannot `what`: why" (its strerror is the sentence, its errno the kernel's)."""
    result: int = _syscall(NUMBERS[name], *arguments)
    if result == -1:
        raise refused(what, _get_errno())
    return result


def refused(what: str, errno: int) -> OSError:
    """The OSError whose strerror is the sentence "cannot `what`: why"."""
    return OSError(errno, f"cannot {what}: {os.strerror(errno)}")


def unsigned(number: int) -> ctypes.c_ulong:
    """For the few arguments that do not fit into 31 bits."""
    return ctypes.c_ulong(number)
