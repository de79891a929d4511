"""A layer's tar → a directory that overlayfs takes as a read-only lower layer.

The directory is ours alone while it grows (its parent is 0700), and the stream is a stranger's. So no path of the
stream is ever followed by the kernel: each directory is opened from the root down with openat2(2), beneath the root and
without symlinks; whatever is made is made by its last name in such a directory. A symlink that an earlier entry made is
followed by us, inside the root, as the program in the container would follow it (OCI Image Format, layer.md).

Deletions become what overlayfs reads: `.wh.x` a character device 0/0, `.wh..wh..opq` the attribute "opaque".
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections import OrderedDict
from dataclasses import dataclass, field

from orchestrator.images import tar
from orchestrator.kernel import mounts

OPAQUE = "trusted.overlay.opaque"
WHITEOUT = ".wh."
_LINKS_FOLLOWED = 40  # as many as the kernel follows (path_resolution(7))
_OPEN = 64  # directories kept open
_PIECE = 1 << 18
_KEPT = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one layer. `ratio` (unpacked to packed) counts only beyond `free`, below which nobody is hurt."""

    bytes: int = 64 << 30
    entries: int = 1_000_000
    ratio: int = 250
    free: int = 1 << 30
    depth: int = 256


@dataclass(slots=True)
class Unpacked:
    """`implied`: directories that no entry described, and `foreign`: hard links (path, target) to files of a layer
    below; both must be completed from the layers below. `size`: bytes of data in files."""

    entries: int = 0
    size: int = 0
    implied: list[str] = field(default_factory=list)
    foreign: list[tuple[str, str]] = field(default_factory=list)


class Refused(ValueError):
    """The layer holds what no honest one does, or more than is taken."""


def unpack(read: tar.Read, directory: str, limits: Limits = Limits(), packed: int = 0) -> Unpacked:
    """Into `directory`, which is made. `packed`: bytes of the compressed blob, 0 where unknown.

    Raises tar.Malformed, Refused, or OSError where the disk is full. Needs root: owners, devices, trusted.* attributes.
    """
    os.mkdir(directory, 0o755)
    os.chmod(directory, 0o755)
    tree = _Tree(directory, limits, packed)
    try:
        reader = tar.Reader(read)
        for entry in reader:
            tree.take(entry, reader)
        reader.rest()
        tree.finish()
    finally:
        tree.close()
    return tree.result


class _Tree:
    """The directory as it grows: `_kinds` knows of every path in it what it is, a symlink by its target."""

    def __init__(self, directory: str, limits: Limits, packed: int) -> None:
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._limits = limits
        self._packed = packed
        self._kinds: dict[str, str] = {"": "/"}  # path → "/" directory, "-" other, "o" whiteout, ">target" symlink
        self._open: OrderedDict[str, int] = OrderedDict()
        self._dressed: dict[str, int] = {}  # directory → its mtime, set when nothing is put into it any more
        self._implied: dict[str, None] = {}
        self.result = Unpacked()

    def close(self) -> None:
        for descriptor in (*self._open.values(), self._root):
            os.close(descriptor)

    def finish(self) -> None:
        """Last: a directory's time, which every child made or removed has changed."""
        for path, mtime in reversed(self._dressed.items()):
            if self._kinds.get(path) == "/":
                os.utime(self._directory(path), ns=(mtime, mtime))
        self.result.implied = [path for path in self._implied if self._kinds.get(path) == "/"]

    def take(self, entry: tar.Entry, reader: tar.Reader) -> None:
        self._count(entry)
        try:
            path = self._place(entry.name)
            parent, _, name = path.rpartition("/")
            if name.startswith(WHITEOUT):
                self._erase(parent, name, entry)
            elif path:
                self._make(path, entry, reader)
            elif entry.kind == tar.DIRECTORY:
                self._dress_directory("", entry)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENOMEM):
                raise
            raise Refused(f"its entry {entry.name!r} cannot be made: {error.strerror}") from error

    def _count(self, entry: tar.Entry) -> None:
        result, limits = self.result, self._limits
        result.entries += 1
        result.size += entry.size
        if result.entries > limits.entries:
            raise Refused(f"it holds more than {limits.entries} entries")
        if result.size > limits.bytes:
            raise Refused(f"it unpacks to more than {limits.bytes} bytes")
        if self._packed and result.size > max(limits.free, self._packed * limits.ratio):
            raise Refused(f"{self._packed} bytes of it unpack to more than {limits.ratio} times as many")

    # paths

    def _place(self, name: str) -> str:
        """The entry's path below the root, its parents there, without symlinks, '.' and '..'."""
        if "\0" in name or len(name) > 4096:
            raise Refused(f"its entry {name[:80]!r} has no possible name")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Refused(f"its entry {name!r} leads out of the layer")
        if len(parts) > self._limits.depth:
            raise Refused(f"its entry {name[:80]!r}… lies deeper than {self._limits.depth} directories")
        if not parts:
            return ""
        parent = self._real("/".join(parts[:-1]), make=True)
        return f"{parent}/{parts[-1]}" if parent else parts[-1]

    def _real(self, path: str, make: bool, followed: int = 0) -> str:
        """A directory's path with every symlink in it followed inside the root; what is missing is made if `make`."""
        if self._kinds.get(path) == "/":
            return path
        parent, _, name = path.rpartition("/")
        parent = self._real(parent, make, followed) if parent else ""
        path = f"{parent}/{name}" if parent else name
        kind = self._kinds.get(path, "")
        if kind == "/":
            return path
        if kind.startswith(">"):
            if followed >= _LINKS_FOLLOWED:
                raise Refused(f"its symlinks at {path!r} lead round in a circle")
            return self._real(_joined(parent, kind[1:]), make, followed + 1)
        if kind == "-" or not make:
            raise Refused(f"{path!r} in it is used as a directory and is none")
        self._clear(path)
        os.mkdir(name, 0o755, dir_fd=self._directory(parent))
        self._kinds[path] = "/"
        if kind == "o":
            os.setxattr(self._directory(path), OPAQUE, b"y")
        self._implied[path] = None
        return path

    def _directory(self, path: str) -> int:
        """A descriptor of a directory of ours; the kernel is told to follow nothing and to leave nothing."""
        if not path:
            return self._root
        found = self._open.get(path)
        if found is None:
            found = mounts.open_beneath(self._root, path, os.O_RDONLY | os.O_DIRECTORY)
            self._open[path] = found
            if len(self._open) > _OPEN:
                os.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(path)
        return found

    # entries

    def _make(self, path: str, entry: tar.Entry, reader: tar.Reader) -> None:
        before = self._kinds.get(path, "")
        if entry.kind == tar.DIRECTORY and before == "/":
            self._dress_directory(path, entry)
            return
        source = self._link_source(entry, path) if entry.kind == tar.HARDLINK else None
        if source == path:
            return  # a link to itself
        self._clear(path)
        parent, _, name = path.rpartition("/")
        where = self._directory(parent)
        mode = entry.mode
        self._kinds[path] = "-"
        match entry.kind:
            case tar.DIRECTORY:
                os.mkdir(name, 0o700, dir_fd=where)
                self._kinds[path] = "/"
                if before == "o":  # deleted and made anew in one layer: nothing of the old one shows through
                    os.setxattr(self._directory(path), OPAQUE, b"y")
                self._dress_directory(path, entry)
                return
            case tar.FILE:
                self._write(name, where, entry, reader)
                return
            case tar.SYMLINK:
                if not entry.target:
                    raise Refused(f"its symlink {entry.name!r} leads nowhere")
                os.symlink(entry.target, name, dir_fd=where)
                self._kinds[path] = ">" + entry.target
            case tar.HARDLINK:
                if source is None:
                    self._kinds.pop(path)
                    self.result.foreign.append((path, entry.target))
                    return
                other, _, target = source.rpartition("/")
                os.link(target, name, src_dir_fd=self._directory(other), dst_dir_fd=where, follow_symlinks=False)
                self._kinds[path] = self._kinds[source]
                return  # owner, mode and times are those of the file it is another name of
            case tar.FIFO:
                os.mkfifo(name, 0o600, dir_fd=where)
            case _:
                kind = stat.S_IFCHR if entry.kind == tar.CHARACTER else stat.S_IFBLK
                if entry.kind == tar.CHARACTER and entry.device == (0, 0):
                    raise Refused(f"its entry {entry.name!r} is overlayfs' own mark of a deleted file")
                os.mknod(name, kind | 0o600, os.makedev(*entry.device), dir_fd=where)
        os.chown(name, entry.uid, entry.gid, dir_fd=where, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            os.chmod(name, mode, dir_fd=where)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=where, follow_symlinks=False)

    def _write(self, name: str, where: int, entry: tar.Entry, reader: tar.Reader) -> None:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=where)
        try:
            if entry.pieces is None:
                while data := reader.data(_PIECE):
                    _write_all(file, data)
            else:
                os.ftruncate(file, entry.length)
                for offset, length in entry.pieces:
                    os.lseek(file, offset, os.SEEK_SET)
                    while length and (data := reader.data(min(length, _PIECE))):
                        _write_all(file, data)
                        length -= len(data)
            os.fchown(file, entry.uid, entry.gid)  # first: it takes away setuid bits and capabilities (chown(2))
            os.fchmod(file, entry.mode)
            _set_attributes(file, entry.xattrs)
            os.utime(file, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(file)

    def _dress_directory(self, path: str, entry: tar.Entry) -> None:
        directory = self._directory(path)
        os.fchown(directory, entry.uid, entry.gid)
        os.fchmod(directory, entry.mode)
        _set_attributes(directory, entry.xattrs)
        self._dressed.pop(path, None)
        self._dressed[path] = entry.mtime
        self._implied.pop(path, None)

    def _link_source(self, entry: tar.Entry, path: str) -> str | None:
        """The path of the file that a hard link names; None where it is not in this layer."""
        parts = [part for part in entry.target.split("/") if part not in ("", ".")]
        if ".." in parts or not parts or "\0" in entry.target:
            raise Refused(f"its hard link {entry.name!r} leads out of the layer, to {entry.target!r}")
        try:
            parent = self._real("/".join(parts[:-1]), make=False) if len(parts) > 1 else ""
        except Refused:
            return None
        source = f"{parent}/{parts[-1]}" if parent else parts[-1]
        kind = self._kinds.get(source)
        if kind == "/":
            raise Refused(f"its hard link {entry.name!r} names the directory {entry.target!r}")
        return None if kind in (None, "o") else source

    def _erase(self, parent: str, name: str, entry: tar.Entry) -> None:
        """A whiteout. It is about the layers below: what this very layer has put there stays."""
        gone = name.removeprefix(WHITEOUT)
        if gone == ".wh..opq":
            os.setxattr(self._directory(parent), OPAQUE, b"y")
            return
        if gone.startswith(WHITEOUT):
            return  # aufs' own book-keeping
        if gone in ("", ".", ".."):
            raise Refused(f"its entry {entry.name!r} deletes what cannot be deleted")
        path = f"{parent}/{gone}" if parent else gone
        kind = self._kinds.get(path)
        if kind == "/":
            os.setxattr(self._directory(path), OPAQUE, b"y")
        elif kind is None:
            os.mknod(gone, stat.S_IFCHR, os.makedev(0, 0), dir_fd=self._directory(parent))
            self._kinds[path] = "o"

    def _clear(self, path: str) -> None:
        """A later entry of the same name wins."""
        kind = self._kinds.pop(path, None)
        if kind is None:
            return
        parent, _, name = path.rpartition("/")
        where = self._directory(parent)
        if kind != "/":
            os.unlink(name, dir_fd=where)
            return
        below = [other for other in self._kinds if other.startswith(f"{path}/")]
        for other in (path, *below):
            self._kinds.pop(other, None)
            if (descriptor := self._open.pop(other, None)) is not None:
                os.close(descriptor)
        shutil.rmtree(name, dir_fd=where)


def _joined(directory: str, target: str) -> str:
    """Where a symlink in `directory` leads, inside the root: '..' at the root stays there."""
    parts = [] if target.startswith("/") or not directory else directory.split("/")
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _set_attributes(file: int, attributes: dict[str, bytes]) -> None:
    """A file's capabilities, its access lists and what users noted. Never trusted.*: those are overlayfs' own words."""
    for name, value in attributes.items():
        if name in _KEPT or name.startswith("user."):
            try:
                os.setxattr(file, name, value)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP or name in _KEPT:  # a filesystem may keep no notes of users
                    raise
