"""What a layer says nothing about and takes from the layers below it.

A tar may hold `etc/app/conf` and no entry for `etc`: unpacked by itself, the directory made for it would cover owner,
mode and even kind (a symlink to /usr/…) of the one below. And a hard link may name a file of a layer below. Such a
layer has a meaning only over its own parents, so it is completed over them, and kept for them alone.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence

from orchestrator.images.unpack import OPAQUE, Refused, Unpacked
from orchestrator.kernel import mounts


def complete(directory: str, unpacked: Unpacked, below: Sequence[str]) -> None:
    """`below`: the directories of the layers below, the nearest first. Raises Refused, OSError."""
    for path in sorted(unpacked.implied):
        found = _find(path, below)
        if found is None:
            continue
        known = os.lstat(found)
        here = os.path.join(directory, path)
        if stat.S_ISDIR(known.st_mode):
            _dress_like(here, found, known)
        elif stat.S_ISLNK(known.st_mode) and os.path.isdir(here) and not os.path.islink(here):
            _move_behind_the_link(directory, path, found, below)
    for path, target in unpacked.foreign:
        found = _find(target.strip("/").removeprefix("./"), below)
        if found is None or not os.path.isfile(found) or os.path.islink(found):
            raise Refused(f"its hard link {path!r} names {target!r}, which is neither in it nor below it")
        _copy_file(found, os.path.join(directory, path))


def _find(path: str, below: Sequence[str]) -> str | None:
    """Where the topmost of the layers that has `path` has it; None where it is not there, or was deleted."""
    for layer in below:
        root = os.open(layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            parts = path.split("/")
            for depth in range(1, len(parts) + 1):
                part = "/".join(parts[:depth])
                try:
                    held = mounts.open_beneath(root, part, os.O_PATH | os.O_NOFOLLOW)
                except OSError as error:
                    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                        break
                    raise
                known = os.fstat(held)
                os.close(held)
                if stat.S_ISCHR(known.st_mode) and known.st_rdev == 0:
                    return None
                if depth == len(parts):
                    return os.path.join(layer, path)
                if _opaque(os.path.join(layer, part)) and not os.path.lexists(os.path.join(layer, path)):
                    return None
        finally:
            os.close(root)
    return None


def _opaque(directory: str) -> bool:
    try:
        return os.getxattr(directory, OPAQUE, follow_symlinks=False) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise


def _dress_like(here: str, there: str, known: os.stat_result) -> None:
    os.chown(here, known.st_uid, known.st_gid)
    os.chmod(here, stat.S_IMODE(known.st_mode))
    for name in os.listxattr(there, follow_symlinks=False):
        if not name.startswith(("trusted.", "security.selinux")):
            os.setxattr(here, name, os.getxattr(there, name, follow_symlinks=False))
    os.utime(here, ns=(known.st_mtime_ns, known.st_mtime_ns))


def _move_behind_the_link(directory: str, path: str, link: str, below: Sequence[str]) -> None:
    """`bin/x` over a layer where bin is a symlink to usr/bin is meant to be usr/bin/x."""
    target = os.readlink(link)
    start = [] if target.startswith("/") else path.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            start = start[:-1]
        elif part not in ("", "."):
            start.append(part)
    real = "/".join(start)
    place = os.path.join(directory, real)
    missing = [real[: at if at else len(real)] for at in [*(i for i, c in enumerate(real) if c == "/"), 0]]
    for part in missing:
        made = os.path.join(directory, part)
        if not os.path.lexists(made):
            os.mkdir(made, 0o755)
            found = _find(part, below)
            if found is not None and os.path.isdir(found) and not os.path.islink(found):
                _dress_like(made, found, os.lstat(found))
        elif not os.path.isdir(made) or os.path.islink(made):
            raise Refused(f"its directory {path!r} is a symlink in a layer below, and leads to no directory")
    for name in os.listdir(os.path.join(directory, path)):
        if not os.path.lexists(os.path.join(place, name)):
            os.rename(os.path.join(directory, path, name), os.path.join(place, name))
    shutil.rmtree(os.path.join(directory, path))


def _copy_file(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    known = os.stat(source)
    os.chown(target, known.st_uid, known.st_gid)
    os.chmod(target, stat.S_IMODE(known.st_mode))
    for name in os.listxattr(source):
        if not name.startswith(("trusted.", "security.selinux")):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(known.st_mtime_ns, known.st_mtime_ns))
