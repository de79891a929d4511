"""A layer's directory, as overlayfs left it, → its blob: a tar of what changed, compressed, with both digests.

The same content gives the same bytes: names are sorted, users have no names, and the compressor knows no time.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from collections.abc import Iterator

from orchestrator.images import stream
from orchestrator.images.unpack import OPAQUE, WHITEOUT

_REDIRECT = "trusted.overlay.redirect"
_PIECE = 1 << 18


def pack(directory: str, target: str) -> dict[str, object]:
    """Into the file `target`: {"digest", "size", "diff_id", "entries"}, 0 where nothing changed. Raises OSError."""
    entries = sum(1 for _ in _walk(directory, ""))
    plain = stream.Digested(_Reader(_blocks(directory)).read)
    with open(target, "wb") as file:
        digest, size = stream.gzip_into(plain.read, file)
    return {"digest": digest, "size": size, "diff_id": plain.digest, "entries": entries}


def _walk(directory: str, name: str) -> Iterator[str]:
    with os.scandir(os.path.join(directory, name)) as found:
        children = sorted(found, key=lambda child: os.fsencode(child.name))
    for child in children:
        path = f"{name}/{child.name}" if name else child.name
        yield path
        if child.is_dir(follow_symlinks=False):
            yield from _walk(directory, path)


def _blocks(directory: str) -> Iterator[bytes]:
    links: dict[tuple[int, int], str] = {}
    for path in _walk(directory, ""):
        yield from _entry(directory, path, links)
    yield bytes(1024)


def _entry(directory: str, path: str, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    full = os.path.join(directory, path)
    known = os.lstat(full)
    mode = known.st_mode
    if stat.S_ISSOCK(mode):
        return  # it is a living process's, and no file
    info = tarfile.TarInfo(path)
    info.mode, info.uid, info.gid = stat.S_IMODE(mode), known.st_uid, known.st_gid
    info.mtime = int(known.st_mtime)
    info.pax_headers = _attributes(full)
    if stat.S_ISCHR(mode) and known.st_rdev == 0:
        parent, _, name = path.rpartition("/")
        yield _header(_whiteout(f"{parent}/{WHITEOUT}{name}" if parent else f"{WHITEOUT}{name}"))
        return
    if stat.S_ISDIR(mode):
        info.type, info.name = tarfile.DIRTYPE, f"{path}/"
        yield _header(info)
        if _attribute(full, OPAQUE) == b"y":
            yield _header(_whiteout(f"{path}/{WHITEOUT}.wh..opq"))
        if _attribute(full, _REDIRECT) is not None:
            raise OSError(f"cannot pack {path!r}: overlayfs noted a renamed directory there; set redirect_dir=off")
        return
    if stat.S_ISLNK(mode):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, os.readlink(full), 0o777
    elif stat.S_ISREG(mode):
        first = links.setdefault((known.st_dev, known.st_ino), path) if known.st_nlink > 1 else path
        if first != path:
            info.type, info.linkname = tarfile.LNKTYPE, first
        else:
            info.size = known.st_size
    elif stat.S_ISFIFO(mode):
        info.type = tarfile.FIFOTYPE
    else:
        info.type = tarfile.CHRTYPE if stat.S_ISCHR(mode) else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(known.st_rdev), os.minor(known.st_rdev)
    yield _header(info)
    if info.isreg():
        yield from _content(full, info.size)


def _content(path: str, size: int) -> Iterator[bytes]:
    left = size
    with open(path, "rb", buffering=0) as file:
        while left and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece
    if left:
        raise OSError(f"cannot pack {path!r}: it became shorter meanwhile")
    yield bytes(-size % 512)


def _whiteout(path: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mode = 0o600
    return info


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _attributes(path: str) -> dict[str, str]:
    kept = {}
    for name in os.listxattr(path, follow_symlinks=False):
        if name.startswith("user.") or name in ("security.capability", "system.posix_acl_access"):
            value = os.getxattr(path, name, follow_symlinks=False)
            kept[f"SCHILY.xattr.{name}"] = value.decode("utf-8", "surrogateescape")
    return kept


def _attribute(path: str, name: str) -> bytes | None:
    with contextlib.suppress(OSError):
        return os.getxattr(path, name, follow_symlinks=False)
    return None


class _Reader:
    """Blocks as they come, read in pieces of any size."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks

    def read(self, count: int) -> bytes:
        gathered, size = [], 0
        for block in self._blocks:
            gathered.append(block)
            size += len(block)
            if size >= count:
                break
        return b"".join(gathered)
