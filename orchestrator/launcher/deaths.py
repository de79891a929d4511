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


def stranger_status(pid: int, start_time: int, pidfd: int) -> int | None:
    """The wait status of a dead process that is another one's child; None: it is not to be known.

    While nobody has reaped it, its zombie says it (proc(5), /proc/PID/stat field 52); afterwards the pidfd does, which
    must have been opened in its lifetime (ioctl PIDFD_GET_INFO, Linux 6.15).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] == b"Z" and int(fields[19]) == start_time:
            return int(fields[49])
    except (FileNotFoundError, ProcessLookupError):
        pass  # reaped
    request = bytearray(_INFO.pack(_PIDFD_INFO_EXIT, *([0] * 13)))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request)
    except OSError:  # an older kernel
        return None
    mask, *_, status = _INFO.unpack(request)
    return int(status) if mask & _PIDFD_INFO_EXIT else None
