"""How a process ended: as waitpid(2) says it, or, for one that is not our child, as its pidfd says it."""

from __future__ import annotations

import fcntl
import os
import struct

# linux/pidfd.h: struct pidfd_info { u64 mask; u64 cgroupid; u32 pid, tgid, ppid, 8 ids; s32 exit_code; }
_INFO = struct.Struct("<QQ11Ii")
_PIDFD_GET_INFO = (3 << 30) | (_INFO.size << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3


def ending(status: int) -> tuple[int | None, int | None]:
    """(code, signal) of a wait status: one of them is None."""
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None


def status_by_pidfd(pidfd: int) -> int | None:
    """The wait status of a process that its own parent has reaped (Linux 6.15 and later); None: not to be known."""
    request = bytearray(_INFO.pack(_PIDFD_INFO_EXIT, *([0] * 13)))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request)
    except OSError:
        return None
    mask, *_, status = _INFO.unpack(request)
    return status if mask & _PIDFD_INFO_EXIT else None
