"""Mounts made ready outside of a container, for those that a path alone cannot describe.

A folder of a volume (`subpath`) is opened without following a link out of the volume, and owners are shown as others
(`idmap`): both need a descriptor, and the launcher takes paths. So such a mount is attached below
RUN/prepared/<container>, closed to all others, and bound from there. Directories are removed with rmdir only: what may
have somebody's data mounted on it is never emptied.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from orchestrator.errors import HostRefused, Missing
from orchestrator.kernel import binding, mounts
from orchestrator.root import Root

EVERYONE = 2**32 - 1  # ids there are: 0 … 2^32 - 2


def prepare(root: Root, container: str, number: int | str, mount: int) -> str:
    """The path of a mount that was attached nowhere; gone with `release`. Closes the descriptor."""
    home = os.path.join(_home(root), container)
    os.makedirs(home, mode=0o700, exist_ok=True)
    path = os.path.join(home, str(number))
    if stat.S_ISDIR(os.fstat(mount).st_mode):
        os.mkdir(path, 0o700)
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    binding.put(mount, path)
    return path


def release(root: Root, container: str) -> None:
    """What was prepared for a container goes. Raises HostRefused; nothing of what is mounted is touched."""
    home = os.path.join(_home(root), container)
    try:
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(home):
                path = os.path.join(home, name)
                binding.detach(path)
                if os.path.isdir(path):
                    os.rmdir(path)
                else:
                    os.unlink(path)
            os.rmdir(home)
    except OSError as error:
        raise HostRefused(f"cannot take away what was mounted for {container}: {error}") from error


def release_others(root: Root, containers: set[str]) -> None:
    """… of every container but these."""
    with contextlib.suppress(FileNotFoundError):
        for container in os.listdir(_home(root)):
            if container not in containers:
                release(root, container)


def program(path: str) -> int:
    """A file in RUN, where nothing may be executed, as a mount in which it may; attached nowhere. Raises OSError."""
    mount = binding.take(path, recursive=False)
    binding.allow_programs(mount)
    return mount


def folder(volume: str, data: str, subpath: str) -> int:
    """The folder (or file) of a volume as a mount that is attached nowhere. Raises Missing where there is none."""
    with _opened(data) as top:
        try:
            found = mounts.open_in(top, subpath, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Missing(
                f"cannot mount {subpath} of volume '{volume}': there is no such directory in it; make it first"
            ) from error
    try:
        mount = binding.take("", found, recursive=True)
        binding.keep_to_itself(mount)
        return mount
    finally:
        os.close(found)


def with_owner(source: str, owner: tuple[int, int], shown: tuple[int, int], passes: str = "") -> int:
    """`source` as a mount attached nowhere, in which the files of `owner` (uid, gid) are those of `shown`.

    All others are shown as they are, but for the files of `shown` itself, who is nobody there: nothing that is written
    inside can be his on the disk. Raises OSError where the file system knows no such mounts.
    """
    mount = binding.take(source)
    try:
        if not passes:
            binding.keep_to_itself(mount)
        if owner != shown:
            binding.show_owners(mount, ids(owner[0], shown[0]), ids(owner[1], shown[1]))
    except BaseException:
        os.close(mount)
        raise
    return mount


def ids(owner: int, shown: int) -> list[tuple[int, int, int]]:
    """(on the disk, shown, how many): `owner` as `shown`, the others as themselves."""
    if owner == shown:
        return [(0, 0, EVERYONE)]
    low, high = sorted((owner, shown))
    rest = [(0, low), (low + 1, high), (high + 1, EVERYONE)]
    return [(owner, shown, 1), *((start, start, end - start) for start, end in rest if end > start)]


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    opened = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield opened
    finally:
        os.close(opened)


def _home(root: Root) -> str:
    return os.path.join(root.run, "prepared")
