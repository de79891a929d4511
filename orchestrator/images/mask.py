"""A mask: a layer that lies over another and says, entry by entry, what is not to be seen of it and what is instead.

The entries are values, so that what a mask means can be tested, compared and named without being root; `build` makes
them the way overlayfs reads them (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Hidden:
    """Nothing is there, whatever the layers below hold."""

    path: str


@dataclass(frozen=True, slots=True)
class Directory:
    """`opaque`: nothing of the layers below shows through; otherwise the two are merged."""

    path: str
    mode: int = 0o755
    owner: tuple[int, int] = (0, 0)  # uid, gid
    opaque: bool = False


@dataclass(frozen=True, slots=True)
class File:
    path: str
    content: bytes = field(default=b"", repr=False)
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Link:
    path: str
    target: str


Entry = Hidden | Directory | File | Link


def digest(entries: Iterable[Entry]) -> str:
    """Hex digits that name the meaning of the mask: the same for the same entries in any order."""
    meaning = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry.path):
        meaning.update(repr(entry).encode())
        if isinstance(entry, File):
            meaning.update(hashlib.sha256(entry.content).digest())
    return meaning.hexdigest()


def build(entries: Sequence[Entry], directory: str) -> None:
    """Make the layer in `directory`, which must not exist. Parents come before their children. Needs CAP_SYS_ADMIN."""
    os.mkdir(directory)
    os.chmod(directory, 0o755)  # this is "/" of the containers, and our umask is not theirs
    for entry in entries:
        path = os.path.join(directory, entry.path)
        match entry:
            case Hidden():
                os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
            case Link():
                os.symlink(entry.target, path)
            case Directory():
                os.mkdir(path)
                _dress(path, entry.mode, entry.owner)
                if entry.opaque:
                    os.setxattr(path, "trusted.overlay.opaque", b"y")
            case File():
                with open(path, "xb") as file:
                    file.write(entry.content)
                _dress(path, entry.mode, entry.owner)


def _dress(path: str, mode: int, owner: tuple[int, int]) -> None:
    if owner != (0, 0):
        os.chown(path, *owner)  # before chmod: a change of owner clears setuid and setgid bits
    os.chmod(path, mode)
