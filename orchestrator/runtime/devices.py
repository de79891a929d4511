"""Devices of the host as an OCI spec names them: `linux.devices`, and the rules of who may open them.

https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#devices
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Any

from orchestrator.errors import Missing
from orchestrator.stack.model import Device

# What a container has of its own in /dev, or must not see of the host's.
_OWN = frozenset({"console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero"})
EVERYTHING: dict[str, Any] = {"allow": True, "access": "rwm"}


def described(devices: Iterable[Device], rules: Iterable[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(`linux.devices`, `linux.resources.devices`) of what a service asks for. A directory stands for all below it.

    Raises Missing where the host has no such device.
    """
    nodes, allowed = [], []
    for device in devices:
        for source, target in _each(device):
            found = _node(source, target)
            if found is None:
                raise Missing(f"cannot give device {source}: it is no device of this machine")
            nodes.append(found)
            rule = {key: found[key] for key in ("type", "major", "minor")}
            allowed.append({"allow": True, **rule, "access": device.permissions})
    return nodes, [*allowed, *(_rule(word) for word in rules)]


_BLOCK_IO = {
    "weight_device": ("weightDevice", "weight"),
    "device_read_bps": ("throttleReadBpsDevice", "rate"),
    "device_write_bps": ("throttleWriteBpsDevice", "rate"),
    "device_read_iops": ("throttleReadIOPSDevice", "rate"),
    "device_write_iops": ("throttleWriteIOPSDevice", "rate"),
}


def block_io(rows: Iterable[tuple[str, str, int]]) -> dict[str, Any]:
    """`linux.resources.blockIO` of blkio_config's rows: (key, path of the disk, value). Raises Missing."""
    found: dict[str, Any] = {}
    for key, path, value in rows:
        if key == "weight":
            found["weight"] = value
            continue
        node = _node(path, path)
        if node is None or node["type"] != "b":
            raise Missing(f"cannot hold to {key} of {path}: it is no disk of this machine")
        name, word = _BLOCK_IO[key]
        found.setdefault(name, []).append({"major": node["major"], "minor": node["minor"], word: value})
    return found


def everything() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All devices that the host has just now, and no rule: for privileged containers."""
    nodes = []
    for name in sorted(set(os.listdir("/dev")) - _OWN):
        for source, target in _each(Device(f"/dev/{name}", f"/dev/{name}")):
            if found := _node(source, target):
                nodes.append(found)
    return nodes, [EVERYTHING]


def _each(device: Device) -> Iterable[tuple[str, str]]:
    if not os.path.isdir(device.source):
        yield device.source, device.target
        return
    for directory, _, files in os.walk(device.source):
        below = os.path.relpath(directory, device.source)
        for file in sorted(files):
            yield os.path.join(directory, file), os.path.normpath(os.path.join(device.target, below, file))


def _node(source: str, target: str) -> dict[str, Any] | None:
    try:
        facts = os.stat(source)
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(facts.st_mode) else "b" if stat.S_ISBLK(facts.st_mode) else None
    if kind is None:
        return None
    return {
        "path": target,
        "source": source,
        "type": kind,
        "major": os.major(facts.st_rdev),
        "minor": os.minor(facts.st_rdev),
        "fileMode": stat.S_IMODE(facts.st_mode),
        "uid": facts.st_uid,
        "gid": facts.st_gid,
    }


def _rule(word: str) -> dict[str, Any]:
    """ "c 189:* rwm" → an OCI rule."""
    kind, numbers, access = word.split()
    major, _, minor = numbers.partition(":")
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    return rule | {name: int(value) for name, value in (("major", major), ("minor", minor)) if value != "*"}
