"""Files of a container as a tar stream, and a tar stream as files of a container: for `cp`.

Everything is reached by descriptors that were resolved within the container's root (openat2 RESOLVE_IN_ROOT), names are
never looked up in its account files, and nothing of it is run: what lies in the container cannot lead us elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

from orchestrator.kernel.mounts import open_in

_PIECE = 1 << 18
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def root_of(pid: int) -> int:
    """A descriptor of the root directory of a living container."""
    return os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def kind(root: int, path: str) -> str:
    """ "directory", "file", "link" (that leads nowhere) or "missing"; links are followed within the root."""
    try:
        found = open_in(root, path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return "missing"
    try:
        return "directory" if stat.S_ISDIR(os.fstat(found).st_mode) else "file"
    finally:
        os.close(found)


def pack(root: int, path: str, out: IO[bytes], *, follow: bool = False) -> None:
    """`path` and all below as tar, the entries named from its last part on. `follow`: what a link leads to, not it.

    Raises OSError. Sockets are left out, as a tar has none.
    """
    clean = os.path.normpath("/" + path)
    name, parent = os.path.basename(clean) or ".", os.path.dirname(clean)
    at = open_in(root, parent, _DIRECTORY)
    try:
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            if follow and stat.S_ISLNK(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                _add_followed(archive, root, clean, name)
            else:
                _add(archive, at, name, name)
    finally:
        os.close(at)


def _add_followed(archive: tarfile.TarFile, root: int, path: str, name: str) -> None:
    found = open_in(root, path)
    try:
        if stat.S_ISDIR(os.fstat(found).st_mode):
            directory = open_in(root, path, _DIRECTORY)
            try:
                _add(archive, directory, ".", name)
            finally:
                os.close(directory)
        else:
            with open(open_in(root, path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                archive.addfile(_described(os.fstat(found), name), file)
    finally:
        os.close(found)


def _add(archive: tarfile.TarFile, at: int, entry: str, name: str) -> None:
    facts = os.stat(entry, dir_fd=at, follow_symlinks=False)
    described = _described(facts, name)
    if stat.S_ISREG(facts.st_mode):
        with open(os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at), "rb") as file:
            archive.addfile(described, file)
    elif stat.S_ISLNK(facts.st_mode):
        described.linkname = os.readlink(entry, dir_fd=at)
        archive.addfile(described)
    elif stat.S_ISDIR(facts.st_mode):
        archive.addfile(described)
        for inner, below in _below(at, entry):
            with suppress(FileNotFoundError):  # it went while we came
                _add(archive, below, inner, f"{name}/{inner}")
    elif not stat.S_ISSOCK(facts.st_mode):
        archive.addfile(described)


def _below(at: int, entry: str) -> Iterator[tuple[str, int]]:
    directory = os.open(entry, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        for inner in sorted(os.listdir(directory)):
            yield inner, directory
    finally:
        os.close(directory)


_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE,
}  # fmt: skip


def _described(facts: os.stat_result, name: str) -> tarfile.TarInfo:
    """By numbers alone: who an account is called is nobody's business here."""
    made = tarfile.TarInfo(name)
    made.type = _TYPES.get(stat.S_IFMT(facts.st_mode), tarfile.REGTYPE)
    made.mode, made.uid, made.gid = stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid
    made.mtime = int(facts.st_mtime)
    made.size = facts.st_size if made.isreg() else 0
    if made.ischr() or made.isblk():
        made.devmajor, made.devminor = os.major(facts.st_rdev), os.minor(facts.st_rdev)
    return made


def unpack(root: int, directory: str, source: IO[bytes], *, owners: bool = False) -> None:
    """The entries of a tar below a directory of the container that is there. `owners`: theirs, else root's.

    Raises OSError, tarfile.TarError, or ValueError for an entry that no file can be made of.
    """
    base = open_in(root, directory, _DIRECTORY)
    try:
        with tarfile.open(fileobj=source, mode="r|*") as archive:
            for entry in archive:
                _put(archive, base, entry, owners)
    finally:
        os.close(base)


def _put(archive: tarfile.TarFile, base: int, entry: tarfile.TarInfo, owners: bool) -> None:
    parts = [part for part in entry.name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"cannot unpack '{entry.name}': it leads out of the directory")
    if not parts:
        return
    parent = _descend(base, parts[:-1])
    name = parts[-1]
    try:
        _make(archive, entry, base, parent, name)
        uid, gid = (entry.uid, entry.gid) if owners else (0, 0)
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        if not entry.issym():
            found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                os.chmod(f"/proc/self/fd/{found}", entry.mode & 0o7777)
                os.utime(f"/proc/self/fd/{found}", (entry.mtime, entry.mtime))
            finally:
                os.close(found)
    finally:
        os.close(parent)


def _descend(base: int, parts: list[str]) -> int:
    """The directory of these names below `base`, made where it is missing. Links in it are followed within `base`."""
    try:
        return open_in(base, "/".join(parts) or ".", _DIRECTORY)
    except FileNotFoundError:
        parent = _descend(base, parts[:-1])
    try:
        os.mkdir(parts[-1], 0o755, dir_fd=parent)
        return os.open(parts[-1], _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)


def _make(archive: tarfile.TarFile, entry: tarfile.TarInfo, base: int, parent: int, name: str) -> None:
    if entry.isdir():
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
        return
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise IsADirectoryError(errno.EISDIR, f"cannot put '{entry.name}' in the place of a directory")
        os.unlink(name, dir_fd=parent)
    if entry.isreg():
        source = archive.extractfile(entry)
        assert source is not None
        with open(os.open(name, _NEW_FILE, 0o600, dir_fd=parent), "wb") as file:
            while piece := source.read(_PIECE):
                file.write(piece)
    elif entry.issym():
        os.symlink(entry.linkname, name, dir_fd=parent)
    elif entry.islnk():
        theirs, _, other = entry.linkname.rpartition("/")
        at = _descend(base, [part for part in theirs.split("/") if part not in ("", ".")])
        try:
            os.link(other, name, src_dir_fd=at, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(at)
    elif entry.isfifo():
        os.mkfifo(name, 0o600, dir_fd=parent)
    else:
        raise ValueError(f"cannot unpack '{entry.name}': it is a device")
