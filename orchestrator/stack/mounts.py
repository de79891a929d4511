"""`volumes` and `tmpfs` of a service: every form of the Compose Specification → `Mount`."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator import units
from orchestrator.stack.context import Context, size_of
from orchestrator.stack.grants import permissions
from orchestrator.stack.model import Dependency, Mount, Service, VolumesFrom
from orchestrator.stack.places import Path, did_you_mean, quoted
from orchestrator.stack.tree import is_written

_PROPAGATION = {"shared", "rshared", "slave", "rslave", "private", "rprivate"}
_TMPFS_NUMBERS = {"uid", "gid", "nr_inodes", "nr_blocks"}
_TMPFS_FLAGS = {"rw", "ro", "exec", "noexec", "suid", "nosuid", "dev", "nodev"}


def mounts(context: Context, service: dict[str, Any], path: Path) -> tuple[Mount, ...]:
    """The mounts of a service, unique by target: a later file replaces, the same file twice is a mistake."""
    result: dict[str, tuple[Mount, Path]] = {}
    for key, read in (("volumes", _volume), ("tmpfs", _tmpfs)):
        for index, item in enumerate(service.get(key) or ()):
            here = (*path, key, index)
            try:
                mount = (
                    None if item is None or (*here, "type") in context.complaints.broken else read(context, item, here)
                )
            except ValueError as error:
                context.complain(here, str(error))
                continue
            if mount is None:
                continue
            if mount.target in result and context.marks[here][0] is context.marks[result[mount.target][1]][0]:
                line = context.marks[result[mount.target][1]][1].start_mark.line + 1
                context.complain(here, f"{mount.target} is already mounted on line {line}")
            result[mount.target] = (mount, here)
    return tuple(mount for mount, _ in result.values())


def _volume(context: Context, item: Any, path: Path) -> Mount | None:
    mount = long(context, item, path)
    where = (*path, "source") if "source" in item else path
    if mount.kind == "bind" and mount.source and not mount.create_host_path and not os.path.exists(mount.source):
        context.complain(
            where,
            f"bind source {mount.source} does not exist;"
            " make it, or write the long form with bind.create_host_path: true",
        )
    return mount


def _passed_on(propagation: str) -> str:
    """What is private is what is done anyway: ""."""
    if propagation and propagation not in _PROPAGATION:
        hint = did_you_mean(propagation, _PROPAGATION)
        raise ValueError(f"expected propagation {', '.join(sorted(_PROPAGATION))}, but found {propagation!r}{hint}")
    return "" if propagation in ("private", "rprivate") else propagation


def long(context: Context, item: dict[str, Any], path: Path) -> Mount:
    kind, target, source = item["type"], _target(item["target"]), item.get("source")
    read_only = bool(item.get("read_only", False))
    labels_only = kind == "volume" and set(item.get("bind") or {}) <= {"selinux"}  # `data:/x:z`, as people write it
    for other in {"bind", "volume", "tmpfs"} - {kind, "bind" if labels_only else kind}:
        if other in item and not any(broken[: len(path) + 1] == (*path, other) for broken in context.complaints.broken):
            context.complain((*path, other), f"'{other}' says nothing about a mount of type {kind}", key=True)
    if kind == "bind":
        return _bind(context, item.get("bind") or {}, (*path, "bind"), source, target, read_only)
    if kind == "volume":
        volume = item.get("volume") or {}
        options = ("nocopy",) if volume.get("nocopy") else ()
        subpath = context.read(volume, (*path, "volume"), "subpath", _subpath, "")
        labels = volume.get("labels") or {}
        if labels and source:
            context.complaints.warn(
                context.marks,
                (*path, "volume", "labels"),
                f"only a volume without a source is labelled here; write those of '{source}' under volumes.{source}",
            )
        named = tuple((str(key), str(value)) for key, value in labels.items())
        return Mount("volume", target, source or None, read_only, options=options, subpath=subpath, labels=named)
    if source:
        context.complain((*path, "source"), "a tmpfs has no source", key=True)
    tmpfs = item.get("tmpfs", {})
    size = context.read(tmpfs, (*path, "tmpfs"), "size", size_of, None)
    mode = context.read(tmpfs, (*path, "tmpfs"), "mode", permissions, None)
    return Mount("tmpfs", target, None, read_only, size, mode)


def _bind(
    context: Context, bind: dict[str, Any], path: Path, source: str | None, target: str, read_only: bool
) -> Mount:
    if not source:
        raise ValueError("'source' is missing: a bind mount needs the path on the host")
    propagation = context.read(bind, path, "propagation", _passed_on, "")
    recursive = bind.get("recursive") or ""
    if recursive in ("writable", "readonly") and not read_only:
        context.complain((*path, "recursive"), f"'{recursive}' says something about read_only mounts only")
    if recursive == "readonly" and propagation:
        context.complain((*path, "propagation"), "recursive: readonly needs the propagation rprivate")
    return Mount(
        "bind",
        target,
        context.host_path(source),
        read_only,
        create_host_path=is_written(bind, "create_host_path") and bool(bind["create_host_path"]),
        options=(bind["selinux"],) if "selinux" in bind else (),
        propagation=propagation,
        recursive="disabled" if recursive == "disabled" else "writable" if recursive == "writable" else "",
    )


def _subpath(word: str) -> str:
    clean = posixpath.normpath(word)
    if word.startswith("/") or clean.startswith("..") or "\0" in word:
        raise ValueError(f"expected a path inside of the volume, but found {quoted(word)}")
    return "" if clean == "." else clean


def _tmpfs(context: Context, item: str, path: Path) -> Mount:
    """ "/run" or "/run:size=64m,mode=1777,exec"."""
    target, _, words = item.partition(":")
    size = mode = None
    options: list[str] = []
    for word in filter(None, words.split(",")):
        name, _, value = word.partition("=")
        if name == "size":
            size = units.size(value)
        elif name == "mode":
            mode = permissions(value)
        elif word in _TMPFS_FLAGS or (name in _TMPFS_NUMBERS and value.isdecimal()):
            options.append(word)
        else:
            raise ValueError(
                "expected tmpfs options size=, mode=, uid=, gid=, "
                + ", ".join(sorted(_TMPFS_FLAGS))
                + f", but found {word!r}"
            )
    kept = tuple(option for option in options if option not in ("ro", "rw"))
    return Mount("tmpfs", _target(target), None, "ro" in options, size, mode, options=kept)


def owner(context: Context, service: dict[str, Any], made: Iterable[Mount]) -> tuple[Mount, ...]:
    """`x-pyorch.idmap: caller`: the files of bind mounts are those of the user who calls; sudo(8) says who that is."""
    if (service.get("x-pyorch") or {}).get("idmap") != "caller":
        return tuple(made)
    uid, gid = (context.environment.get(name, "0") for name in ("SUDO_UID", "SUDO_GID"))
    return tuple(replace(mount, idmap=f"{uid}:{gid}") if mount.kind == "bind" else mount for mount in made)


def volumes_from(context: Context, service: dict[str, Any], path: Path) -> tuple[VolumesFrom, ...]:
    """ "service", "service:ro", "container:name:ro"."""
    found = []
    for index, item in enumerate(service.get("volumes_from") or ()):
        if item is None:
            continue
        words = str(item).split(":")
        container = words[0] == "container" and len(words) > 1
        name, *access = words[1:] if container else words
        if not name or len(access) > 1 or access not in ([], ["ro"], ["rw"]):
            context.complain(
                (*path, "volumes_from", index),
                f"expected SERVICE or container:NAME, with :ro or :rw, but found {item!r}",
            )
            continue
        found.append(VolumesFrom(name, container, access == ["ro"]))
    return tuple(found)


def borrowed(services: Mapping[str, Service]) -> dict[str, Service]:
    """Each service with the mounts of those it takes `volumes_from`, and after them in starting order. What it mounts
    itself at a place counts there."""
    return {name: _borrow(service, services, ()) for name, service in services.items()}


def _borrow(service: Service, services: Mapping[str, Service], above: tuple[str, ...]) -> Service:
    if not service.volumes_from or service.name in above:
        return service
    found = {mount.target: mount for mount in service.mounts}
    needs = dict(service.depends_on)
    for words in service.volumes_from:
        if words.container or words.source not in services:
            continue
        needs.setdefault(words.source, Dependency())
        for mount in _borrow(services[words.source], services, (*above, service.name)).mounts:
            anonymous = mount.kind == "volume" and mount.source is None
            whose = (mount.service or words.source) if anonymous else ""
            shared = replace(mount, service=whose, read_only=mount.read_only or words.read_only)
            if mount.kind != "tmpfs":
                found.setdefault(mount.target, shared)
    return replace(service, mounts=tuple(found.values()), depends_on=needs)


def _target(word: str) -> str:
    if not word.startswith("/"):
        raise ValueError(f"the path in the container must be absolute, but found {quoted(word)}")
    clean = posixpath.normpath(word)
    if clean in ("/", "//"):
        raise ValueError("the container's root cannot be mounted over")
    return clean
