"""Named volumes: STATE/volumes/<name>/_data is mounted, meta.json beside it says whose it is.

The parents are 0700: what a container leaves there (setuid files, devices) is out of reach of the host's other users.
A volume exists once its meta.json does; a directory without one is a half made volume and is completed or dropped.
A volume with driver options is what they name: a directory of the host, or a file system that is mounted on _data while
containers use it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from typing import Any

from orchestrator.errors import Conflict, HostRefused, Missing, Mistake
from orchestrator.kernel import binding, mountinfo
from orchestrator.root import Root
from orchestrator.storage import driver

# Docker's own rule for volume names; without '/' and a leading '.', no name can point out of the directory.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,253}")
_OLD = "replaced"
ANONYMOUS = "com.docker.volume.anonymous"


def path(root: Root, name: str) -> str:
    """The volume's own directory. Raises Mistake where `name` cannot be a volume's."""
    return os.path.join(home(root, name), "_data")


def anonymous(stack: str, service: str, slot: int, target: str) -> str:
    """The name of the volume that nobody named: the same for whatever container is in the slot."""
    return hashlib.sha256(json.dumps([stack, service, slot, target]).encode()).hexdigest()


def make(
    root: Root, name: str, labels: Mapping[str, str], options: Mapping[str, str] | None = None, protect: bool = False
) -> str:
    """The volume exists afterwards, with its data where it had some; returns its own directory.

    Raises Conflict where it exists and is another (other driver options), HostRefused.
    """
    place = home(root, name)
    data = os.path.join(place, "_data")
    if options:
        driver.understood(name, options)
    try:
        os.makedirs(root.volumes, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(place, 0o700)
        with contextlib.suppress(FileExistsError):
            os.mkdir(data)
            os.chmod(data, 0o755)  # whatever our umask is: services run as any user
        known = _meta(place)
        if known is None:
            _write(os.path.join(place, "meta.json"), _described(name, labels, options or {}, protect))
        elif options is not None:
            same(known, options)
    except OSError as error:
        raise HostRefused(f"cannot make volume '{name}': {error}") from error
    return data


def _described(
    name: str, labels: Mapping[str, str], options: Mapping[str, str], protect: bool = False
) -> dict[str, Any]:
    more = {"options": dict(options)} if options else {}
    return {"name": name, "labels": dict(labels), **more, **({"protect": True} if protect else {})}


def same(known: Mapping[str, Any], options: Mapping[str, str]) -> None:
    """Raises Conflict where the volume that exists is not the one the stack file means."""
    if dict(known.get("options", {})) != dict(options):
        raise Conflict(
            f"cannot use volume '{known['name']}': it was made with other driver_opts; 'pyorch volume rm "
            f"{known['name']}' removes it and what it holds"
        )


def must_not_exist(root: Root, name: str) -> None:
    """Raises Conflict where there is a volume of this name."""
    if _meta(home(root, name)) is not None:
        raise Conflict(f"cannot make volume '{name}': there is one already; 'pyorch volume rm {name}' removes it")


def describe(home: str, name: str, labels: Mapping[str, str]) -> None:
    """What is in the directory `home` is a volume from now on (see `keeping`). Raises OSError."""
    _write(os.path.join(home, "meta.json"), _described(name, labels, {}))


def replace(root: Root, name: str, fresh: str) -> None:
    """The directory `fresh` becomes what the volume holds, and what it held goes. Raises OSError.

    Between the two renames the former content is beside: `data` takes it back where nothing has come instead.
    """
    there, old = path(root, name), os.path.join(home(root, name), _OLD)
    shutil.rmtree(old, ignore_errors=True)
    os.rename(there, old)
    os.rename(fresh, there)
    shutil.rmtree(old)


def rename(root: Root, name: str, new: str) -> None:
    """The volume gets another name; with all that it holds. Content with one that is not there."""
    place, labels = home(root, name), (listing(root).get(name) or {}).get("labels", {})
    try:
        if _meta(place) is not None:
            _write(os.path.join(place, "meta.json"), _described(new, labels, {}))
            os.rename(place, home(root, new))
    except OSError as error:
        raise HostRefused(f"cannot rename volume '{name}': {error}") from error


def drop(root: Root, name: str) -> None:
    """Remove the volume and its data; content with one that is not there. Never follows a symlink out of it."""
    place = home(root, name)
    try:
        with contextlib.suppress(FileNotFoundError):
            # Without its meta.json it is no volume any more, however far the rest gets.
            os.unlink(os.path.join(place, "meta.json"))
        if os.path.lexists(place):
            binding.detach(os.path.join(place, "_data"))  # what it mounted is not its own, and stays
            shutil.rmtree(place)
    except OSError as error:
        raise HostRefused(f"cannot drop volume '{name}': {error}") from error


def listing(root: Root) -> dict[str, dict[str, Any]]:
    """Volumes that exist, by name: what their meta.json says ("name", "labels", "options")."""
    try:
        names = sorted(os.listdir(root.volumes))
    except FileNotFoundError:
        return {}
    return {
        name: meta
        for name in names
        if _NAME.fullmatch(name) and (meta := _meta(os.path.join(root.volumes, name))) is not None
    }


def made_at(root: Root, name: str) -> float:
    """When it was made, in seconds since the epoch."""
    return os.stat(os.path.join(home(root, name), "meta.json")).st_mtime


# what is in it


def data(root: Root, name: str) -> str:
    """The directory that holds what the volume holds, mounted where it has driver options.

    Raises Missing where there is no such volume or device, HostRefused where it cannot be mounted.
    """
    meta = _meta(home(root, name))
    if meta is None:
        raise Missing(f"cannot use volume '{name}': there is none; 'pyorch volume create {name}' makes one")
    options: Mapping[str, str] = meta.get("options", {})
    if not options:
        old = os.path.join(home(root, name), _OLD)
        if not os.path.isdir(path(root, name)) and os.path.isdir(old):
            os.rename(old, path(root, name))
        return path(root, name)
    described = driver.understood(name, options)
    if described.bind:
        if not os.path.isdir(described.device):
            raise Missing(f"cannot use volume '{name}': its device {described.device} is no directory; make it first")
        return described.device
    if not _is_mounted(root, name):
        _mount(name, described, path(root, name))
    return path(root, name)


def _mount(name: str, described: driver.Driver, target: str) -> None:
    source, words = driver.call(name, described, driver.looked_up(name))
    try:
        binding.mount(source, target, described.kind, words)
    except OSError as error:
        unknown = f"this kernel knows no file system '{described.kind}'"
        why = unknown if error.errno == errno.ENODEV else os.strerror(error.errno or 0)
        raise HostRefused(f"cannot mount {source} for volume '{name}': {why}") from error


def described(root: Root, name: str) -> driver.Driver | None:
    """What its driver options say; None where it has none."""
    options = (_meta(home(root, name)) or {}).get("options")
    return driver.understood(name, options) if options else None


def read_only(root: Root, name: str) -> bool:
    """Whether its driver options say so."""
    found = described(root, name)
    return found is not None and found.read_only


def _is_mounted(root: Root, name: str) -> bool:
    """By the kernel's list: whoever looks at the place itself waits for its file server, and maybe for ever."""
    where, last = os.path.split(path(root, name))
    return mountinfo.is_point(os.path.join(os.path.realpath(where), last))


def unmount_unused(root: Root, used: Collection[str]) -> None:
    """What driver options had mounted goes when no container uses it. Raises HostRefused."""
    for name, meta in listing(root).items():
        if meta.get("options") and name not in used and _is_mounted(root, name):
            try:
                binding.detach(path(root, name))
            except OSError as error:
                raise HostRefused(f"cannot unmount volume '{name}': {error}") from error


# files


def home(root: Root, name: str) -> str:
    """Where the volume lies, with its meta.json. Raises Mistake where `name` cannot be a volume's."""
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
