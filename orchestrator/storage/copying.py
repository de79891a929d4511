"""Copies of trees that differ in nothing: owners, modes, times, extended attributes, ACLs, hard links, holes, devices.

Where the file system shares blocks between files (btrfs, XFS, bcachefs) a copy costs none: ioctl_ficlone(2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator

_FICLONE = 0x40049409
_STEP = 1 << 24  # bytes of one copy_file_range(2)
_OVERLAYS = ("trusted.overlay.", "user.overlay.")  # what overlayfs keeps for itself: kernel, overlayfs.rst
_UNKNOWN = (errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV, errno.ENOTTY, errno.ENOSYS)

Links = dict[tuple[int, int], str]  # (device, inode) → where its first name is, below the target


def tree(source: int, target: str) -> None:
    """What is in the directory open as `source` into the empty directory `target`, with the looks of `source` itself.

    Symbolic links are copied and never followed. Raises OSError; then `target` holds a part.
    """
    place = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _inside(source, place, "", {}, place)
        _dress(source, place)
    finally:
        os.close(place)


def _inside(source: int, target: int, path: str, links: Links, top: int) -> None:
    for name in sorted(os.listdir(source)):
        known = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(known.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            with _directory(name, source) as inner, _directory(name, target) as made:
                _inside(inner, made, f"{path}{name}/", links, top)
                _dress(inner, made)
            continue
        first = links.get((known.st_dev, known.st_ino))
        if first is not None:
            os.link(first, name, src_dir_fd=top, dst_dir_fd=target, follow_symlinks=False)
            continue
        if stat.S_ISREG(known.st_mode):
            _file(name, source, target)
        elif not stat.S_ISSOCK(known.st_mode):  # a socket without its process is nothing
            _special(name, known, source, target)
        else:
            continue
        if known.st_nlink > 1:
            links[known.st_dev, known.st_ino] = f"{path}{name}"


@contextlib.contextmanager
def _directory(name: str, parent: int) -> Iterator[int]:
    opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield opened
    finally:
        os.close(opened)


def _file(name: str, source: int, target: int) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    data = os.open(name, flags, dir_fd=source)
    try:
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            content(data, made)
            _dress(data, made)
        finally:
            os.close(made)
    finally:
        os.close(data)


def content(source: int, target: int) -> None:
    """The bytes of a file into an empty one, holes left out."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    for start, end in pieces(source, size):
        while start < end:
            copied = _copy(source, target, start, min(end - start, _STEP))
            if not copied:
                break  # it has become shorter since
            start += copied


def pieces(file: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of everything in a file that is no hole: lseek(2), SEEK_DATA."""
    at = 0
    while at < size:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        at = os.lseek(file, start, os.SEEK_HOLE)
        yield start, at


def _copy(source: int, target: int, at: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count, at, at)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
    return os.pwrite(target, os.pread(source, min(count, 1 << 20), at), at)


def _special(name: str, known: os.stat_result, source: int, target: int) -> None:
    if stat.S_ISLNK(known.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    else:
        os.mknod(name, stat.S_IFMT(known.st_mode) | 0o600, known.st_rdev, dir_fd=target)
    os.chown(name, known.st_uid, known.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(known.st_mode):
        os.chmod(name, stat.S_IMODE(known.st_mode), dir_fd=target)
    os.utime(name, ns=(known.st_atime_ns, known.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _dress(source: int, target: int) -> None:
    """Owner before mode (a change of owner clears setuid), attributes before times."""
    known = os.fstat(source)
    os.fchown(target, known.st_uid, known.st_gid)
    os.fchmod(target, stat.S_IMODE(known.st_mode))
    for name, value in attributes(source):
        os.setxattr(target, name, value)
    os.utime(target, ns=(known.st_atime_ns, known.st_mtime_ns))


def attributes(file: int) -> Iterator[tuple[str, bytes]]:
    """The extended attributes of an open file, ACLs and file capabilities among them: xattr(7)."""
    try:
        names = os.listxattr(file)
    except OSError as error:
        if error.errno in _UNKNOWN:
            return
        raise
    for name in names:
        if not name.startswith(_OVERLAYS) and name != "security.selinux":
            yield name, os.getxattr(file, name)
