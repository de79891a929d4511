"""inotify(7): told by the kernel when a name in a directory changes, or a file of its own is written to.

Of a user's files the directories are watched: editors write a new file and rename it over the old one, and a watch on
the old inode would see nothing ever again. The kernel's files (control groups) stay what they are; there the directory
would tell of much that nobody wants to know, each process that comes in for one.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass

from orchestrator.kernel.syscalls import refused

# include/uapi/linux/inotify.h
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_ATTRIB, _DELETE_SELF, _MOVE_SELF = 0x4, 0x400, 0x800
_ONLYDIR = 0x01000000
Q_OVERFLOW, IGNORED = 0x4000, 0x8000
_NAMES = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ATTRIB | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
_WRITTEN = _CLOSE_WRITE | _DELETE_SELF
_HEAD = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Change:
    """`directory` as it was given to `follow` ("": the kernel lost count, look at everything); `name` within it."""

    directory: str
    name: str


class Inotify:
    """One descriptor for any number of directories and single files; readable when something has changed.

    One is better than two: to close one takes the kernel tens of milliseconds, at the end of a process too.
    """

    def __init__(self) -> None:
        self.fd: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd == -1:
            raise refused("watch for changes", ctypes.get_errno())
        self._directories: dict[int, str] = {}
        self._watches: dict[str, int] = {}

    def follow(self, directories: set[str], files: Collection[str] = frozenset()) -> None:
        """Watch exactly these. One that is not there is left out: its parent, watched too, tells when it comes."""
        wanted = dict.fromkeys(sorted(directories), _NAMES) | dict.fromkeys(files, _WRITTEN)
        for gone in self._watches.keys() - wanted.keys():
            watch = self._watches.pop(gone)
            if self._directories.pop(watch, None):
                _libc.inotify_rm_watch(self.fd, watch)
        for directory in [path for path in wanted if path not in self._watches]:
            watch = _libc.inotify_add_watch(self.fd, os.fsencode(directory), wanted[directory])
            if watch == -1:
                if ctypes.get_errno() in _ABSENT:
                    continue
                raise refused(f"watch {directory}", ctypes.get_errno())
            self._directories[watch] = directory
            self._watches[directory] = watch

    def read(self) -> list[Change]:
        """What has changed since the last call; [] where nothing has."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return []
        changes = []
        while data:
            watch, mask, _, length = _HEAD.unpack_from(data)
            name = data[_HEAD.size : _HEAD.size + length].rstrip(b"\0")
            data = data[_HEAD.size + length :]
            directory = "" if mask & Q_OVERFLOW else self._directories.get(watch)
            if directory is not None:
                changes.append(Change(directory, os.fsdecode(name)))
            if mask & IGNORED and watch in self._directories:  # it is gone itself
                self._watches.pop(self._directories.pop(watch), None)
        return changes

    def close(self) -> None:
        os.close(self.fd)


_ABSENT = (2, 20, 13)  # ENOENT, ENOTDIR, EACCES
