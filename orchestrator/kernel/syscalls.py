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
    "read": 0, "write": 1, "close": 3, "mprotect": 10, "rt_sigaction": 13, "rt_sigprocmask": 14, "ioctl": 16,
    "getpid": 39, "clone": 56, "execve": 59, "exit": 60, "getcwd": 79, "chdir": 80, "fchdir": 81, "umask": 95,
    "setsid": 112, "setgroups": 116, "setresuid": 117, "setresgid": 119, "capget": 125, "capset": 126,
    "pivot_root": 155, "prctl": 157, "chroot": 161, "mount": 165, "umount2": 166, "sethostname": 170,
    "setdomainname": 171, "futex": 202, "fchownat": 260,
    "keyctl": 250, "openat": 257, "mkdirat": 258, "mknodat": 259, "unlinkat": 263, "symlinkat": 266, "faccessat": 269,
    "ppoll": 271, "unshare": 272, "splice": 275, "dup3": 292, "prlimit64": 302, "syncfs": 306, "setns": 308,
    "seccomp": 317, "bpf": 321, "statx": 332,
}  # fmt: skip
_GENERIC = {
    "getcwd": 17, "dup3": 24, "ioctl": 29, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36,
    "umount2": 39, "mount": 40, "pivot_root": 41, "faccessat": 48, "chdir": 49, "fchdir": 50, "chroot": 51,
    "openat": 56, "close": 57, "read": 63, "write": 64, "ppoll": 73, "splice": 76, "capget": 90, "capset": 91,
    "exit": 93, "unshare": 97, "futex": 98, "rt_sigaction": 134, "rt_sigprocmask": 135, "setresuid": 147,
    "setresgid": 149, "setsid": 157, "setgroups": 159, "sethostname": 161,
    "setdomainname": 162, "fchownat": 54, "umask": 166, "prctl": 167, "getpid": 172,
    "keyctl": 219, "clone": 220, "execve": 221, "mprotect": 226, "prlimit64": 261, "syncfs": 267, "setns": 268,
    "seccomp": 277, "bpf": 280, "statx": 291,
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


def numbered(number: int, arguments: list[int]) -> int:
    """A call by its number, with whole registers as arguments: its result, or minus its errno."""
    result: int = _syscall(number, *map(ctypes.c_long, arguments))
    return result if result != -1 else -_get_errno()
