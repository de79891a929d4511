"""Named volumes: STATE/volumes/<name>/_data is mounted, meta.json beside it says whose it is.

The parents are 0700: what a container leaves there (setuid files, devices) is out of reach of the host's other users.
A volume exists once its meta.json does; a directory without one is a half made volume and is completed or dropped.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import HostRefused, Mistake
from orchestrator.root import Root

# Docker's own rule for volume names; without '/' and a leading '.', no name can point out of the directory.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,253}")


def path(root: Root, name: str) -> str:
    """The directory to mount. Raises Mistake where `name` cannot be a volume's."""
    return os.path.join(_home(root, name), "_data")


def make(root: Root, name: str, labels: Mapping[str, str]) -> str:
    """The volume exists afterwards, with its data where it had some; returns the directory to mount."""
    home = _home(root, name)
    data = os.path.join(home, "_data")
    try:
        os.makedirs(root.volumes, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(home, 0o700)
        with contextlib.suppress(FileExistsError):
            os.mkdir(data)
            os.chmod(data, 0o755)  # whatever our umask is: services run as any user
        if not os.path.exists(os.path.join(home, "meta.json")):
            _write(os.path.join(home, "meta.json"), {"name": name, "labels": dict(labels)})
    except OSError as error:
        raise HostRefused(f"cannot make volume '{name}': {error}") from error
    return data


def drop(root: Root, name: str) -> None:
    """Remove the volume and its data; content with one that is not there. Never follows a symlink out of it."""
    home = _home(root, name)
    try:
        with contextlib.suppress(FileNotFoundError):
            # Without its meta.json it is no volume any more, however far the rest gets.
            os.unlink(os.path.join(home, "meta.json"))
        if os.path.lexists(home):
            shutil.rmtree(home)
    except OSError as error:
        raise HostRefused(f"cannot drop volume '{name}': {error}") from error


def listing(root: Root) -> dict[str, dict[str, Any]]:
    """Volumes that exist, by name: what their meta.json says ("name", "labels")."""
    try:
        names = sorted(os.listdir(root.volumes))
    except FileNotFoundError:
        return {}
    return {name: meta for name in names if (meta := _meta(os.path.join(root.volumes, name))) is not None}


def _home(root: Root, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Mistake(
            f"cannot use volume name '{name}': letters, digits, '_', '.' and '-', beginning with the former two"
        )
    return os.path.join(root.volumes, name)


def _meta(home: str) -> dict[str, Any] | None:
    try:
        with open(os.path.join(home, "meta.json"), encoding="utf-8") as file:
            meta: dict[str, Any] = json.load(file)
            return meta
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(file: str, value: object) -> None:
    """By rename: a reader sees the whole of it or none, also after a power cut."""
    with open(f"{file}.new", "w", encoding="utf-8") as new:
        json.dump(value, new)
        new.flush()
        os.fsync(new.fileno())
    os.rename(f"{file}.new", file)
