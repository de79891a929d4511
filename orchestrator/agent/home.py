"""The agent's two directories: STATE and RUN made, ours alone, and RUN in memory.

RUN holds hundreds of small files, FIFOs and renames for a hundred containers: on a journalling disk they cost more than
the containers do, and they are worth nothing after a reboot. Where RUN is on a disk (a root of one's own, or a host
without a /run in memory), a tmpfs is mounted on it; it goes when the agent is stopped with nothing left to look after.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct

from orchestrator.agent import clock, trash
from orchestrator.agent.containers import scrap
from orchestrator.errors import Conflict, HostRefused
from orchestrator.kernel import mountinfo, mounts
from orchestrator.root import Root
from orchestrator.storage import prepared, volumes

# linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS (of a long), FS_TOPDIR_FL
_GETFLAGS, _SETFLAGS, _TOPDIR = 0x80086601, 0x40086602, 0x00020000


def claim(root: Root) -> int:
    """The lock that says this root is ours; held until it is closed. Raises Conflict, HostRefused."""
    if os.geteuid() != 0:
        raise HostRefused("cannot run the agent: pyorch needs root rights; run it with sudo")
    try:
        os.makedirs(root.state, mode=0o711, exist_ok=True)
        os.makedirs(root.run, mode=0o711, exist_ok=True)
        lock = os.open(os.path.join(root.state, "agent.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostRefused(f"cannot use {root.directory}: {error.strerror}: {error.filename}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise Conflict(f"cannot run the agent: another one (pid {_holder(root)}) has {root.directory}") from error
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except OSError as error:
        raise HostRefused(f"cannot use {root.directory}: {error.strerror}") from error
    into_memory(root)
    _forget_other_boot(root)
    _spread(root.containers)
    return lock


def _holder(root: Root) -> str:
    with open(os.path.join(root.state, "agent.lock"), encoding="ascii") as file:
        return file.read().strip()


def left(root: Root, patience: float) -> bool:
    """Whether the agent that holds the root has ended within `patience` seconds; its lock is free then."""
    try:
        holder = os.pidfd_open(int(_holder(root)))
    except (ValueError, ProcessLookupError):  # between its lock and its name, or gone
        return True
    poll = select.poll()
    poll.register(holder, select.POLLIN)  # readable when it has ended: pidfd_open(2)
    ended = bool(poll.poll(patience * 1000))
    os.close(holder)
    return ended


def into_memory(root: Root) -> None:
    """RUN lies on a tmpfs; `leave` undoes it. Raises HostRefused."""
    if mountinfo.mount_of(root.run).filesystem == "tmpfs" and os.stat(root.run).st_dev != os.stat("/").st_dev:
        return  # a live system has even its "/" in memory: masks over it cannot lie inside it (see images.host)
    try:
        memory = mounts.make("tmpfs", ["mode=0711"], "pyorch", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
        mounts.attach(memory, os.open(root.run, os.O_PATH | os.O_CLOEXEC))
    except OSError as error:
        raise HostRefused(f"cannot mount a tmpfs on {root.run}: {error.strerror}") from error


def _spread(directory: str) -> None:
    """On ext4, let each container's directory lie in a block group of its own (chattr(1), T).

    A new inode searches past all that were deleted in its group within the last seconds: with every container in one
    group, that was a tenth of the work of bringing a stack up again. Other filesystems know no such flag.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    held = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(held, _GETFLAGS, bytes(struct.calcsize("l"))))
        fcntl.ioctl(held, _SETFLAGS, struct.pack("l", flags | _TOPDIR))
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
            raise HostRefused(f"cannot use {directory}: {error.strerror}") from error
    finally:
        os.close(held)


def _forget_other_boot(root: Root) -> None:
    """What another boot left in RUN is gone: its containers are dead. (A RUN in memory is empty then by itself.)"""
    marker = os.path.join(root.run, "boot")
    try:
        with open(marker, encoding="ascii") as file:
            same = file.read() == clock.boot_id()
    except FileNotFoundError:
        same = False
    if not same:
        scrap([root.bundles, root.zones])
        with open(marker, "w", encoding="ascii") as file:
            file.write(clock.boot_id())


def leave(root: Root) -> None:
    """Nothing of ours runs any more: RUN goes, and with it the memory it lay in."""
    prepared.release_others(root, set())  # before anything is emptied: it holds what is somebody else's
    volumes.unmount_unused(root, ())
    if os.path.ismount(root.run):
        mounts.detach(root.run)  # a launcher that has just said goodbye may still be ending
    scrap([root.run, trash.directory(root)])
