"""A volume as a tar archive and back: owners, modes, times, extended attributes, ACLs, hard links, holes, devices.

POSIX pax headers, as GNU tar and bsdtar write and read them: SCHILY.xattr.* for attributes, GNU.sparse (format 1.0) for
files with holes. Compressed by the name's end: .tar, .tar.gz or .tgz, .tar.zst.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from decimal import Decimal
from typing import IO, Literal

from orchestrator.errors import HostRefused, Mistake
from orchestrator.storage import copying

_XATTR = "SCHILY.xattr."
_BLOCK = 512
_BESIDE = (".pyorch-filling", ".pyorch-filled")
Links = dict[tuple[int, int], str]


def write(data: str, path: str) -> int:
    """Everything below the directory `data` into the archive `path`; its size in bytes. By rename: whole or not at all.

    Raises HostRefused (a full disk), Mistake for a name that says no known compression.
    """
    building, form = f"{path}.partial", tarfile.PAX_FORMAT
    try:
        with _opened(building, path, "wb") as raw, tarfile.open(fileobj=raw, mode="w|", format=form) as tar:
            _add(tar, data, ".", {})
        with open(building, "rb") as made:
            os.fsync(made.fileno())  # a backup that a power cut empties is none
        os.rename(building, path)
        return os.stat(path).st_size
    except OSError as error:
        raise HostRefused(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(building)


def read(path: str, target: str) -> None:
    """What is in the archive into the empty directory `target`. No name in it leads out of there, by whatever link.

    Raises Mistake where it is no such archive or names a place outside, HostRefused.
    """
    try:
        with _opened(path, path, "rb") as raw, tarfile.open(fileobj=raw, mode="r|") as tar:
            _extract_all(tar, target)
            while raw.read(1 << 20):
                pass  # to the end, where the checksum is
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise Mistake(f"cannot read {path}: it is no whole tar archive ({error})") from error
    except OSError as error:
        raise HostRefused(f"cannot restore {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _opened(file: str, name: str, mode: Literal["rb", "wb"]) -> Iterator[IO[bytes]]:
    if name.endswith((".tar.gz", ".tgz")):
        import gzip
        import zlib

        with gzip.open(file, mode) as zipped, _as_value_error(zlib.error):
            yield zipped  # type: ignore[misc]
    elif name.endswith(".tar.zst"):
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        # With a checksum, which zstd leaves out unless asked: a backup that has rotted is no backup.
        options = {int(zstd.CompressionParameter.checksum_flag): 1} if mode == "wb" else None
        with zstd.open(file, mode, options=options) as zipped, _as_value_error(zstd.ZstdError):
            yield zipped  # type: ignore[misc]
    elif name.endswith(".tar"):
        with open(file, mode) as plain:
            yield plain
    else:
        raise Mistake(f"cannot tell the compression of '{name}': the name must end in .tar, .tar.gz or .tar.zst")


@contextlib.contextmanager
def _as_value_error(damage: type[Exception]) -> Iterator[None]:
    """What a decompressor raises of its own kind, where what it reads is damaged."""
    try:
        yield
    except damage as error:
        raise ValueError(str(error)) from error


# writing


def _add(tar: tarfile.TarFile, path: str, name: str, links: Links) -> None:
    known = os.lstat(path)
    if stat.S_ISSOCK(known.st_mode):
        return
    info = tar.gettarinfo(path, arcname=name)
    info.uname = info.gname = ""  # numbers: a container's names are not the host's
    info.pax_headers = {"mtime": f"{Decimal(known.st_mtime_ns) / 10**9:f}"}
    first = links.get((known.st_dev, known.st_ino))
    if first is not None and not stat.S_ISDIR(known.st_mode):
        info.type, info.linkname, info.size = tarfile.LNKTYPE, first, 0
        tar.addfile(info)
        return
    if stat.S_ISREG(known.st_mode):
        info.type, info.size = tarfile.REGTYPE, known.st_size
        links[known.st_dev, known.st_ino] = name
        with open(path, "rb") as file:
            _attributes(info, file.fileno())
            _add_file(tar, info, file)
        return
    if stat.S_ISDIR(known.st_mode):
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _attributes(info, opened)
        finally:
            os.close(opened)
    tar.addfile(info)
    if stat.S_ISDIR(known.st_mode):
        for child in sorted(os.listdir(path)):
            if name != "." or child not in _BESIDE:
                _add(tar, os.path.join(path, child), f"{name}/{child}", links)


def _attributes(info: tarfile.TarInfo, file: int) -> None:
    for name, value in copying.attributes(file):
        info.pax_headers = {**info.pax_headers, _XATTR + name: value.decode("utf-8", "surrogateescape")}


def _add_file(tar: tarfile.TarFile, info: tarfile.TarInfo, file: IO[bytes]) -> None:
    pieces = list(copying.pieces(file.fileno(), info.size))
    data = sum(end - start for start, end in pieces)
    if data + (1 << 16) > info.size:
        file.seek(0)
        tar.addfile(info, _Whole(file, info.size))
        return
    # GNU tar's manual, "Storing Sparse Files", PAX format, version 1.0: a map before the data.
    if not pieces or pieces[-1][1] < info.size:
        pieces.append((info.size, info.size))
    numbers = [len(pieces), *(number for start, end in pieces for number in (start, end - start))]
    table = "".join(f"{number}\n" for number in numbers).encode()
    table += bytes(-len(table) % _BLOCK)
    info.pax_headers = {
        **info.pax_headers,
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": info.name,
        "GNU.sparse.realsize": str(info.size),
    }
    info.size = len(table) + data
    tar.addfile(info, _Pieces(table, file, pieces))


class _Whole(io.RawIOBase):
    """A file as long as it was when it was looked at: one that shrinks meanwhile ends in zeros, as with GNU tar."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        found = self._file.read(wanted)
        self._left -= wanted
        return found + bytes(wanted - len(found))


class _Pieces(io.RawIOBase):
    """A table, and after it the pieces of a file that are no holes."""

    def __init__(self, table: bytes, file: IO[bytes], pieces: list[tuple[int, int]]) -> None:
        self._bytes = self._all(table, file, pieces)
        self._rest = b""

    @staticmethod
    def _all(table: bytes, file: IO[bytes], pieces: list[tuple[int, int]]) -> Iterator[bytes]:
        yield table
        for start, end in pieces:
            while start < end:
                found = os.pread(file.fileno(), min(end - start, 1 << 20), start)
                found = found or bytes(min(end - start, 1 << 20))
                yield found
                start += len(found)

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            more = next(self._bytes, None)
            if more is None:
                break
            self._rest += more
        found, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return found


# reading


def _extract_all(tar: tarfile.TarFile, target: str) -> None:
    top = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    late: list[tuple[str, tarfile.TarInfo]] = []  # looks of directories: their content comes first
    try:
        for info in tar:
            name = _inside(info.name)
            parent = _directory(top, os.path.dirname(name))
            try:
                if info.isdir():
                    late.append((name, info))
                    if name:
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(os.path.basename(name), 0o700, dir_fd=parent)
                else:
                    _extract(tar, info, os.path.basename(name), parent, top)
            finally:
                os.close(parent)
        for name, info in reversed(late):
            opened = _directory(top, name)
            try:
                _dress(opened, info)
            finally:
                os.close(opened)
    finally:
        os.close(top)


def _inside(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or name.startswith("/"):
        raise Mistake(f"cannot restore: the archive names a place outside of the volume: {name}")
    return "/".join(parts)


def _directory(top: int, path: str) -> int:
    """Open it, made where it is missing, without ever following a link."""
    opened = os.dup(top)
    for part in filter(None, path.split("/")):
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, 0o755, dir_fd=opened)
        try:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened)
        except NotADirectoryError as error:
            raise Mistake(f"cannot restore: the archive leads through {path}, which is no directory in it") from error
        finally:
            os.close(opened)
        opened = inner
    return opened


def _extract(tar: tarfile.TarFile, info: tarfile.TarInfo, name: str, parent: int, top: int) -> None:
    if not name:
        raise Mistake("cannot restore: the archive names the volume itself as a file")
    if info.islnk():
        first = _inside(info.linkname)
        place = _directory(top, os.path.dirname(first))
        try:
            os.link(os.path.basename(first), name, src_dir_fd=place, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(place)
    elif info.issym():
        os.symlink(info.linkname, name, dir_fd=parent)
        os.chown(name, info.uid, info.gid, dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=_times(info), dir_fd=parent, follow_symlinks=False)
    elif info.isfile() or info.issparse():
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            _fill(tar, info, file)
            _dress(file, info)
        finally:
            os.close(file)
    else:
        kinds = {tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK, tarfile.FIFOTYPE: stat.S_IFIFO}
        if info.type not in kinds:
            raise Mistake(f"cannot restore: the archive has something of an unknown kind: {info.name}")
        os.mknod(name, kinds[info.type] | 0o600, os.makedev(info.devmajor, info.devminor), dir_fd=parent)
        os.chown(name, info.uid, info.gid, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, info.mode & 0o7777, dir_fd=parent)
        os.utime(name, ns=_times(info), dir_fd=parent, follow_symlinks=False)


def _fill(tar: tarfile.TarFile, info: tarfile.TarInfo, file: int) -> None:
    """Runs of zeros as long as a block of the disk become holes."""
    source: IO[bytes] | None = tar.extractfile(info)
    at = 0
    while source is not None and (piece := source.read(1 << 16)):
        if piece.count(0) != len(piece):
            rest = memoryview(piece)
            where = at
            while rest:
                written = os.pwrite(file, rest, where)
                rest, where = rest[written:], where + written
        at += len(piece)
    if at != info.size:
        raise tarfile.ReadError(f"{info.name} is cut short")
    os.ftruncate(file, at)


def _dress(file: int, info: tarfile.TarInfo) -> None:
    os.fchown(file, info.uid, info.gid)
    os.fchmod(file, info.mode & 0o7777)
    for key, value in info.pax_headers.items():
        if key.startswith(_XATTR):
            os.setxattr(file, key.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
    os.utime(file, ns=_times(info))


def _times(info: tarfile.TarInfo) -> tuple[int, int]:
    """Access and change in nanoseconds, exactly as written: a float has no room for them."""
    nanoseconds = int(Decimal(info.pax_headers.get("mtime", info.mtime)) * 10**9)
    return nanoseconds, nanoseconds
