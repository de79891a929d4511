"""What `pyorch volume` does with whole volumes: clone, back up, restore; and what they take of the disk.

What is copied or unpacked lies in STATE/volumes/.new-* until it is whole, and gets its name by one rename.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping

from orchestrator.errors import Conflict, HostRefused
from orchestrator.root import Root
from orchestrator.storage import archive, copying, filling, volumes

_NEW = ".new-"


def clone(root: Root, name: str, new: str, labels: Mapping[str, str]) -> None:
    """A new volume with what another one holds; where the file system shares blocks it takes no room.

    Raises Missing, Conflict where the new one exists, HostRefused (a full disk): then there is no new one.
    """
    volumes.must_not_exist(root, new)
    data = volumes.data(root, name)
    with _building(root, new) as home:
        source = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copying.tree(source, os.path.join(home, "_data"))
        finally:
            os.close(source)
        volumes.describe(home, new, labels)
        os.rename(home, volumes.home(root, new))


def backup(root: Root, name: str, path: str) -> int:
    """The volume as an archive at `path`; its size in bytes."""
    return archive.write(volumes.data(root, name), path)


def restore(root: Root, name: str, path: str, *, force: bool) -> None:
    """What an archive holds becomes what the volume holds; the volume is made where there is none.

    Raises Conflict where something is in it and not `force`; whatever goes wrong, the volume is as it was.
    """
    there = volumes.listing(root).get(name)
    if there is not None:
        if there.get("options"):
            raise Conflict(f"cannot restore volume '{name}': it has driver_opts; restore into a volume without")
        if not force and not filling.is_empty(volumes.data(root, name)):
            raise Conflict(f"cannot restore volume '{name}': it is not empty; --force replaces what it holds")
    with _building(root, name) as home:
        fresh = os.path.join(home, "_data")
        archive.read(path, fresh)
        if there is None:
            volumes.describe(home, name, {})
            os.rename(home, volumes.home(root, name))
        else:
            volumes.replace(root, name, fresh)


@contextlib.contextmanager
def _building(root: Root, name: str) -> Iterator[str]:
    """A directory with an empty _data in it; what is left of it afterwards goes."""
    home = os.path.join(root.volumes, f"{_NEW}{name}-{os.urandom(4).hex()}")
    try:
        os.makedirs(os.path.join(home, "_data"))
        os.chmod(home, 0o700)
        os.chmod(os.path.join(home, "_data"), 0o755)
        yield home
    except OSError as error:
        raise HostRefused(f"cannot make volume '{name}': {error.strerror or error}") from error
    finally:
        shutil.rmtree(home, ignore_errors=True)


def forget_unfinished(root: Root) -> None:
    """What an agent that was killed was just making."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(root.volumes):
            if name.startswith(_NEW):
                shutil.rmtree(os.path.join(root.volumes, name))


def size(root: Root, name: str) -> int:
    """Bytes that the volume takes of the disk; 0 where it is a directory or device of somebody else's."""
    if (volumes.listing(root).get(name) or {}).get("options"):
        return 0
    return usage(volumes.path(root, name))


def usage(path: str) -> int:
    """Bytes of disk below `path`, each file counted once (stat(2), st_blocks)."""
    seen: set[tuple[int, int]] = set()
    total, ahead = 0, [path]
    while ahead:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(ahead.pop()) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):
                    known = entry.stat(follow_symlinks=False)
                    if (known.st_dev, known.st_ino) not in seen:
                        seen.add((known.st_dev, known.st_ino))
                        total += known.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
    return total
