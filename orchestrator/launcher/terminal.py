"""A terminal inside a container: a pty of the container's own devpts, so that `tty` and job control work there."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import termios

_TIOCGPTPEER = 0x5441  # ioctl_tty(2): the slave of a master, whatever is mounted at its path
_TIOCSPTLCK = 0x40045431
_PTMX = os.makedev(5, 2)


def open_pty(pid: int, rows: int, columns: int) -> tuple[int, int]:
    """(master, slave) of the container whose pid 1 is `pid`. Raises OSError."""
    # Step by step, following no link: the container may have put anything below its own root.
    at = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in ("dev", "pts"):
            inner = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = inner
        flags = os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        facts = os.stat("ptmx", dir_fd=at, follow_symlinks=False)
        if not stat.S_ISCHR(facts.st_mode) or facts.st_rdev != _PTMX:
            raise FileNotFoundError(2, "cannot open a terminal: the container's /dev/pts/ptmx is not one")
        master = os.open("ptmx", flags, dir_fd=at)
    finally:
        os.close(at)
    try:
        os.set_blocking(master, True)
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        resize(master, rows, columns)
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        os.close(master)
        raise
    return master, slave


def resize(terminal: int, rows: int, columns: int) -> None:
    """Either side will do; the program gets SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
