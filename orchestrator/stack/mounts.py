"""`volumes` and `tmpfs` of a service: every form of the Compose Specification → `Mount`."""

from __future__ import annotations

import os
import posixpath
from typing import Any

from orchestrator import units
from orchestrator.stack.context import Context
from orchestrator.stack.grants import permissions
from orchestrator.stack.model import Mount
from orchestrator.stack.places import Path, did_you_mean, quoted

_ACCEPTED = {"z", "Z", "nocopy", "cached", "delegated", "consistent"}
_PROPAGATION = {"shared", "rshared", "slave", "rslave", "private", "rprivate"}
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
    mount, where = (_long(context, item, path) if isinstance(item, dict) else _short(context, item)), path
    if isinstance(item, dict) and "source" in item:
        where = (*path, "source")
    if mount.kind == "bind" and mount.source and not mount.create_host_path and not os.path.exists(mount.source):
        context.complain(
            where,
            f"bind source {mount.source} does not exist;"
            " make it, or write the long form with bind.create_host_path: true",
        )
    return mount


def _short(context: Context, item: str) -> Mount:
    """ "/target", "source:/target", "source:/target:ro,z"."""
    source, colon, rest = item.partition(":")
    if not colon:
        return Mount("volume", _target(item))
    target, _, words = rest.partition(":")
    options = [word for word in words.split(",") if word]
    for word in options:
        if word in _PROPAGATION:
            raise ValueError(
                f"mount option {word!r} is part of the Compose Specification but pyorch does not obey it yet"
            )
        if word not in _ACCEPTED | {"ro", "rw"}:
            raise ValueError(
                f"expected mount options ro, rw, z, Z or nocopy, but found {word!r}"
                + did_you_mean(word, _ACCEPTED | {"ro", "rw"})
            )
    kept, read_only = tuple(word for word in options if word not in ("ro", "rw")), "ro" in options
    if not source:
        raise ValueError(f"the source before ':' is missing in {item!r}")
    if source[0] in "./~":
        return Mount("bind", _target(target), context.host_path(source), read_only, options=kept)
    return Mount("volume", _target(target), source, read_only, options=kept)


def _long(context: Context, item: dict[str, Any], path: Path) -> Mount:
    kind, target, source = item["type"], _target(item["target"]), item.get("source")
    read_only = bool(item.get("read_only", False))
    for other in {"bind", "volume", "tmpfs"} - {kind}:
        if other in item:
            context.complain((*path, other), f"'{other}' says nothing about a mount of type {kind}", key=True)
    if kind == "bind":
        bind = item.get("bind", {})
        if not source:
            raise ValueError("'source' is missing: a bind mount needs the path on the host")
        options = (bind["selinux"],) if "selinux" in bind else ()
        create = bool(bind.get("create_host_path", False))
        return Mount("bind", target, context.host_path(source), read_only, create_host_path=create, options=options)
    if kind == "volume":
        options = ("nocopy",) if item.get("volume", {}).get("nocopy") else ()
        return Mount("volume", target, source or None, read_only, options=options)
    if source:
        context.complain((*path, "source"), "a tmpfs has no source", key=True)
    tmpfs = item.get("tmpfs", {})
    size = context.read(tmpfs, (*path, "tmpfs"), "size", units.size, None)
    mode = context.read(tmpfs, (*path, "tmpfs"), "mode", permissions, None)
    return Mount("tmpfs", target, None, read_only, size, mode)


def _tmpfs(context: Context, item: str, path: Path) -> Mount:
    """ "/run" or "/run:size=64m,mode=1777,noexec"."""
    target, _, words = item.partition(":")
    size = mode = None
    options: list[str] = []
    for word in filter(None, words.split(",")):
        name, _, value = word.partition("=")
        if name == "size":
            size = units.size(value)
        elif name == "mode":
            mode = permissions(value)
        elif word in _TMPFS_FLAGS or (name in ("uid", "gid") and value.isdecimal()):
            options.append(word)
        else:
            raise ValueError(
                "expected tmpfs options size=, mode=, uid=, gid=, "
                + ", ".join(sorted(_TMPFS_FLAGS))
                + f", but found {word!r}"
            )
    return Mount(
        "tmpfs",
        _target(target),
        None,
        "ro" in options,
        size,
        mode,
        options=tuple(o for o in options if o not in ("ro", "rw")),
    )


def _target(word: str) -> str:
    if not word.startswith("/"):
        raise ValueError(f"the path in the container must be absolute, but found {quoted(word)}")
    clean = posixpath.normpath(word)
    if clean in ("/", "//"):
        raise ValueError("the container's root cannot be mounted over")
    return clean
