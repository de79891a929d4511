"""A service's volumes, binds and tmpfs: made ready (`ground`), and as the mounts of an OCI runtime spec.

A mount of a volume carries the volume's name beside the words of the specification ("volume"), a bind an empty one: by
that a bundle tells which volumes it uses and what it can lend to others.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import Conflict, HostRefused, Missing
from orchestrator.kernel import mountinfo
from orchestrator.root import Root
from orchestrator.stack.model import Mount, Service, Stack
from orchestrator.storage import filling, prepared, volumes

# Directory of a volume → held while it is mounted and filled: two services may start at once and find it empty. A lock
# each: a file server that does not answer keeps nobody from another volume.
_FILLING: dict[str, threading.Lock] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """Whose mounts: a slot of a service, what its image declares as volumes, and the image's layers, topmost first."""

    service: Service
    stack: Stack
    slot: int
    image_volumes: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def _all(place: Place) -> Iterator[tuple[Mount, str]]:
    """Every mount with the name of its volume ("" : it has none); last the image's, where nothing is mounted yet."""
    targets = {mount.target for mount in place.service.mounts}
    images = (Mount("volume", path) for path in place.image_volumes if path.rstrip("/") not in targets)
    for mount in (*place.service.mounts, *images):
        yield mount, _volume(place, mount) if mount.kind == "volume" else ""


def _volume(place: Place, mount: Mount) -> str:
    stack = place.stack
    if mount.source is None:
        borrowed = mount.service != ""
        service, slot = (mount.service, 1) if borrowed else (place.service.name, place.slot)
        return volumes.anonymous(stack.name, service, slot, mount.target)
    if mount.source not in stack.volumes:
        raise Missing(f"cannot mount volume '{mount.source}' for '{place.service.name}': the stack has it no more")
    return stack.volumes[mount.source].name


def has_volumes(place: Place) -> bool:
    return bool(place.image_volumes) or any(mount.kind == "volume" for mount in place.service.mounts)


def outside(root: Root, place: Place) -> list[str]:
    """Paths of its mounts that others may serve: of binds, and of volumes with driver options. Nothing is touched."""
    found = []
    for mount, name in _all(place):
        by = volumes.described(root, name) if name else None
        if mount.kind == "bind" and mount.source is not None:
            found.append(mount.source)
        elif by is not None:
            found.append(by.device if by.bind else volumes.path(root, name))
    return found


def ground(root: Root, place: Place) -> None:
    """Anonymous volumes are made, devices mounted, empty volumes filled from the image. May take long: for a thread.

    Raises Missing where a volume or its device is not there, Conflict, HostRefused: nothing is half filled.
    """
    for mount, name in _all(place):
        if not name:
            continue
        by = volumes.described(root, name)
        directory = os.path.realpath(by.device) if by is not None and by.bind else volumes.path(root, name)
        with _FILLING.setdefault(directory, threading.Lock()):
            if mount.source is None:
                labels = {volumes.ANONYMOUS: "", "com.docker.compose.project": place.stack.name, **dict(mount.labels)}
                volumes.make(root, name, labels)
            elif not (wanted := place.stack.volumes[mount.source]).external:
                volumes.same(volumes.listing(root).get(name, {"name": name}), wanted.options)
            data = volumes.data(root, name)
            try:
                filling.finish(data)
                fill = "nocopy" not in mount.options and not mount.subpath and not mount.service
                if fill and not volumes.read_only(root, name) and filling.is_empty(data):
                    filling.fill(root, name, data, place.layers, mount.target)
            except OSError as error:
                raise HostRefused(f"cannot look into volume '{name}': {error.strerror}") from error


def oci(root: Root, place: Place, container: str, lent: Iterable[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """OCI mounts (runtime-spec config.md, "Mounts") of one container, after `ground`. `lent`: mounts of others that are
    taken over where it has nothing.

    Raises Missing where a bind source or a folder of a volume is not there: the engine never makes one up. Conflict
    where a bind is to pass on what is mounted below it, and its source lies on a mount that does not.
    """
    made = [_oci(root, place, mount, name, container, number) for number, (mount, name) in enumerate(_all(place))]
    taken = {mount["destination"] for mount in made}
    return [*made, *(mount for mount in lent if mount["destination"] not in taken)]


def _oci(root: Root, place: Place, mount: Mount, name: str, container: str, number: int) -> dict[str, Any]:
    if mount.kind == "tmpfs":
        return _tmpfs(mount)
    by = volumes.described(root, name) if name else None
    read_only = mount.read_only or (by is not None and by.read_only)
    access = "rw" if not read_only else "ro" if mount.recursive == "writable" else "rro"
    source = volumes.data(root, name) if name else _bind_source(mount, place.service.name)
    if mount.propagation:
        _must_pass_on(source, mount, place.service.name)
    if mount.subpath:
        source = prepared.prepare(root, container, number, prepared.folder(name, source, mount.subpath))
    elif mount.idmap:
        source = _with_owner(root, place.service, mount, source, container, number)
    alone = mount.recursive == "disabled" or (by is not None and by.bind == "bind")
    options = ["bind" if alone else "rbind", access, mount.propagation or "rprivate"]
    if by is not None and by.bind:
        options += by.attributes
    return {"destination": mount.target, "type": "bind", "source": source, "options": options, "volume": name}


def _must_pass_on(source: str, mount: Mount, service: str) -> None:
    """Docker's rule: what lies on a private mount of the host neither gives nor takes any."""
    found = mountinfo.mount_of(source)
    shared, slave = (any(word.startswith(kind) for word in found.passes) for kind in ("shared:", "master:"))
    if shared or (slave and "slave" in mount.propagation):
        return
    raise Conflict(
        f"cannot mount {source} at {mount.target} of '{service}' with propagation {mount.propagation}: it lies on the "
        f"mount {found.point}, which is not shared; 'mount --make-rshared {found.point}' makes it so"
    )


def _tmpfs(mount: Mount) -> dict[str, Any]:
    """Docker's: neither programs, devices nor setuid, unless the user writes so."""
    usual = {"exec": "noexec", "suid": "nosuid", "dev": "nodev"}
    kept = [word for word in usual.values() if word.removeprefix("no") not in mount.options]
    size = [f"size={mount.size}"] if mount.size is not None else []
    mode = f"mode={mount.mode:o}" if mount.mode is not None else "mode=1777"
    written = [word for word in mount.options if word not in usual.values()]
    options = [*kept, "ro" if mount.read_only else "rw", mode, *size, *written]
    return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}


def _with_owner(root: Root, service: Service, mount: Mount, source: str, container: str, number: int) -> str:
    uid, gid = map(int, mount.idmap.split(":"))
    words = (service.user or "0").partition(":")
    if not words[0].isdecimal() or (words[2] and not words[2].isdecimal()):
        raise Missing(f"cannot map the owner of {mount.source} for '{service.name}': write its `user` as numbers")
    shown = (int(words[0]), int(words[2] or 0))
    try:
        made = prepared.with_owner(source, (uid, gid), shown, passes=mount.propagation)
        return prepared.prepare(root, container, number, made)
    except OSError as error:
        unknown = "its file system knows no mapped owners" if error.errno == 22 else error.strerror
        raise HostRefused(f"cannot map the owner of {source} for '{service.name}': {unknown}") from error


def _bind_source(mount: Mount, service: str) -> str:
    assert mount.source is not None, "a bind has a source: the stack was checked"
    if not os.path.lexists(mount.source):
        if not mount.create_host_path:
            raise Missing(
                f"cannot mount {mount.source} at {mount.target} of {service!r}: it does not exist; "
                "make it, or write create_host_path: true"
            )
        try:
            os.makedirs(mount.source)
        except OSError as error:
            raise HostRefused(f"cannot make {mount.source}, the bind source of {service!r}: {error}") from error
    return mount.source


# afterwards


def leave(root: Root, slot: tuple[str, str, int], had: Iterable[dict[str, Any]], *, drop: bool) -> None:
    """A container that had these mounts is gone, and none is to come in its slot (stack, service, number). Its
    anonymous volumes go too (`drop`), or stay as volumes of nobody that `pyorch volume prune` removes."""
    for mount in had:
        name = mount["volume"]
        if name and name == volumes.anonymous(*slot, mount["destination"]):
            if drop:
                volumes.drop(root, name)
            else:
                volumes.rename(root, name, os.urandom(32).hex())


def of_bundle(bundle: str) -> list[dict[str, Any]]:
    """Volumes and binds of a container, by its config.json; [] where it has none."""
    try:
        with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
            made: Sequence[dict[str, Any]] = json.load(file)["mounts"]
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return []
    return [mount for mount in made if "volume" in mount]


def users(root: Root, containers: Iterable[str]) -> dict[str, list[str]]:
    """Volume → ids of the containers that have it mounted."""
    found: dict[str, list[str]] = {}
    for container in containers:
        for mount in of_bundle(root.bundle(container)):
            if mount["volume"] and container not in found.setdefault(mount["volume"], []):
                found[mount["volume"]].append(container)
    return found
