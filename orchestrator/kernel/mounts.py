"""Mounts of this process, by descriptor, and what mount options mean. man 2 fsopen, openat2.

The mounts of a container are steps on a tape: `mounting.py`.
"""

from __future__ import annotations

import ctypes
import os
import struct

from orchestrator.kernel import syscalls

TYPE_CHECKING = False  # typing itself would cost the launcher a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable

RDONLY, NOSUID, NODEV, NOEXEC = 0x1, 0x2, 0x4, 0x8
NOATIME, STRICTATIME, NODIRATIME = 0x10, 0x20, 0x80
ATTRIBUTES = {
    "ro": RDONLY, "rro": RDONLY, "nosuid": NOSUID, "nodev": NODEV, "noexec": NOEXEC,
    "noatime": NOATIME, "strictatime": STRICTATIME, "nodiratime": NODIRATIME,
}  # fmt: skip
# Options that say what is so anyway, or that the caller sees to itself.
_PLAIN = {"rw", "suid", "dev", "exec", "relatime", "atime", "diratime", "bind", "rbind"}
# Whether what is mounted below later passes on (mount_namespaces(7)); MS_UNBINDABLE … of linux/mount.h.
_PROPAGATIONS = {"unbindable": 1 << 17, "private": 1 << 18, "slave": 1 << 19, "shared": 1 << 20}

SLAVE, SHARED = _PROPAGATIONS["slave"], _PROPAGATIONS["shared"]

_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_BOTH_EMPTY = 0x4 | 0x40  # move_mount: both sides are given by descriptor
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH, _IN_ROOT = 0x02, 0x04, 0x08, 0x10
PAGE = 4096


def make(fstype: str, options: Iterable[str] = (), source: str = "", attributes: int = 0) -> int:
    """A new filesystem, attached nowhere yet: its descriptor, good as a dir_fd too. `options` "flag" or "key=value"."""
    context = syscalls.call(f"make a filesystem of type {fstype}", "fsopen", fstype.encode(), _CLOEXEC)
    try:
        if source:
            syscalls.call("name a filesystem", "fsconfig", context, _SET_STRING, b"source", source.encode(), 0)
        for option in options:
            key, is_pair, value = option.partition("=")
            step, argument = (_SET_STRING, value.encode()) if is_pair else (_SET_FLAG, None)
            what = f"mount {fstype} with option {option!r}"
            syscalls.call(what, "fsconfig", context, step, key.encode(), argument, 0)
        syscalls.call(f"make a filesystem of type {fstype}", "fsconfig", context, _CREATE, None, None, 0)
        return syscalls.call(f"mount {fstype}", "fsmount", context, _CLOEXEC, attributes)
    finally:
        os.close(context)


def attach(mount: int, target: int) -> None:
    """Put a detached mount onto the file or directory open as `target`; both descriptors are closed."""
    try:
        syscalls.call("attach a mount", "move_mount", mount, b"", target, b"", _BOTH_EMPTY)
    finally:
        os.close(mount)
        os.close(target)


def open_in(root: int, path: str, flags: int = os.O_PATH, links: bool = True) -> int:
    """Open `path` as a process would whose root directory is `root`; with `links` False every symlink is ELOOP."""
    how = how_in(flags, links)
    return syscalls.call(f"open {path!r}", "openat2", root, os.fsencode(path), how, ctypes.c_long(len(how)))


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open `path` below `directory`, without leaving it and without any symlink."""
    how = struct.pack("=3Q", flags | os.O_CLOEXEC, 0, _BENEATH | _NO_MAGICLINKS | _NO_SYMLINKS)
    return syscalls.call(f"open {path!r}", "openat2", directory, os.fsencode(path), how, ctypes.c_long(len(how)))


def how_in(flags: int, links: bool) -> bytes:
    """struct open_how of a look-up that stays in the root it is given."""
    resolve = _IN_ROOT | _NO_MAGICLINKS | (0 if links else _NO_SYMLINKS)
    return struct.pack("=3Q", flags | os.O_CLOEXEC, 0, resolve)


def escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def detach(path: str) -> None:
    """Take away what is mounted on `path` from view now, and from memory when its last user has ended (MNT_DETACH)."""
    syscalls.call(f"unmount {path}", "umount2", path.encode(), 2)


def sort(options: Iterable[str]) -> tuple[int, list[str]]:
    """OCI mount options → (attributes of the mount, options of the filesystem)."""
    attributes, rest = 0, []
    for option in options:
        if option in ATTRIBUTES:
            attributes |= ATTRIBUTES[option]
        elif option not in _PLAIN and option.removeprefix("r") not in _PROPAGATIONS:
            rest.append(option)
    return attributes, rest


def propagation(options: Iterable[str]) -> int:
    """The propagation that OCI mount options ask for, as mount_setattr(2) takes it; 0: what is private is not passed.

    The forms with and without "r" are one here: what is mounted below a mount that passes on passes on, too.
    """
    asked = [_PROPAGATIONS[word] for option in options if (word := option.removeprefix("r")) in _PROPAGATIONS]
    return asked[-1] if asked and asked[-1] in (SLAVE, SHARED) else 0
