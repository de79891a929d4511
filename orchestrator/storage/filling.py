"""An empty volume takes over what the image has at the place it is mounted on: Docker's copy-up.

Crash-safe in three steps: everything is copied beside the volume's data (`filling`), that copy is called whole by a
rename (`filled`), and then moved into the data, name by name. What a killed agent leaves of the first is thrown away,
what it leaves of the third is gone on with: a half filled volume is never taken for a whole one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Sequence

from orchestrator.errors import HostRefused
from orchestrator.kernel import binding, mounts
from orchestrator.root import Root
from orchestrator.storage import copying

_FILLING, _FILLED = ".pyorch-filling", ".pyorch-filled"


def is_empty(data: str) -> bool:
    """Nothing is in the volume but what an unfinished filling left there."""
    with os.scandir(data) as found:
        return all(entry.name in (_FILLING, _FILLED, "lost+found") for entry in found)


def finish(data: str) -> None:
    """Go on with a filling that was not finished, before anybody looks into the volume. Raises OSError."""
    if os.path.isdir(filled := os.path.join(data, _FILLED)):
        _move(filled, data)


def fill(root: Root, volume: str, data: str, layers: Sequence[str], path: str) -> None:
    """Let the volume's empty directory `data` have what the image of these layers has at `path`, where it has
    something. Raises HostRefused; then the volume is as empty as before."""
    filling, filled = os.path.join(data, _FILLING), os.path.join(data, _FILLED)
    try:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(filling)
        with contextlib.ExitStack() as held:
            source = _look(root, layers, path, held)
            if source is None:
                return
            os.mkdir(filling, 0o700)
            copying.tree(source, filling)
        os.rename(filling, filled)
        _move(filled, data)
    except OSError as error:
        with contextlib.suppress(OSError):
            shutil.rmtree(filling)
        why = error.strerror or str(error)
        raise HostRefused(f"cannot fill volume '{volume}' with what the image has at {path}: {why}") from error


def _move(filled: str, data: str) -> None:
    """Each name is either here or there at any time. The looks of the directory itself come last but one."""
    for name in os.listdir(filled):
        os.rename(os.path.join(filled, name), os.path.join(data, name))
    known = os.stat(filled)
    os.chown(data, known.st_uid, known.st_gid)
    os.chmod(data, stat.S_IMODE(known.st_mode))
    os.rmdir(filled)


def _look(root: Root, layers: Sequence[str], path: str, held: contextlib.ExitStack) -> int | None:
    """The directory at `path` of the image, open; None where it has none, or nothing in it.

    The layers are looked at as a container would see them, through an overlay of their own that nobody can write to.
    """
    top = os.open(layers[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if len(layers) == 1 else _overlay(root, layers)
    held.callback(os.close, top)
    try:
        found = mounts.open_in(top, path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    held.callback(os.close, found)
    return found


def _overlay(root: Root, layers: Sequence[str]) -> int:
    """An overlay that lives as long as it is open: it is taken from its place at once."""
    place = os.path.join(root.run, f"look-{os.getpid()}-{os.urandom(4).hex()}")
    os.mkdir(place, 0o700)
    try:
        binding.mount("overlay", place, "overlay", ["ro", f"lowerdir={':'.join(map(_escape, layers))}"])
        try:
            return os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        finally:
            binding.detach(place)
    finally:
        os.rmdir(place)


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
