"""Where a service may go, in the words of the file: `deploy.mode`, `deploy.placement`, `x-pyorch` priority, affinity,
reserve, quota and gang. And what follows for the scheduler: one `Request` for each replica."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator import units
from orchestrator.scheduler.node import PRIORITY, Affinity, Constraint, HostPort, Request
from orchestrator.stack.context import Context
from orchestrator.stack.limits import device_ids
from orchestrator.stack.model import Placement, Service, Shares, Stack
from orchestrator.stack.places import Path, did_you_mean

MODES = ("replicated", "global", "replicated-job", "global-job")
FIXED_KEYS = ("node.id", "node.hostname", "node.role", "node.platform.os", "node.platform.arch")
STANDARD = ("runc", "crun", "youki", "io.containerd.runc.v2")
LABEL_KEYS = ("node.labels.", "engine.labels.")
_CONSTRAINT = re.compile(r"\s*([^\s=!]+)\s*(==|!=)\s*(.+?)\s*")


def placement(context: Context, data: dict[str, Any], path: Path) -> Placement:
    """Everything about a service that says which node it goes to, but for what it reserves."""
    deploy, ours = data.get("deploy") or {}, data.get("x-pyorch") or {}
    written, here = deploy.get("placement") or {}, (*path, "deploy", "placement")
    mode = context.read(deploy, (*path, "deploy"), "mode", _mode, "replicated")
    if mode.startswith("global") and deploy.get("replicas") is not None:
        place = (*path, "deploy", "replicas")
        context.complain(place, f"mode {mode} has one replica on each node; remove it", key=True)
    return Placement(
        everywhere=mode.startswith("global"),
        job=mode.endswith("-job"),
        constraints=tuple(_constraints(context, written, here)),
        spread=tuple(_spread(context, written, here)),
        per_node=int(written.get("max_replicas_per_node") or 0),
        affinities=tuple(_affinities(context, ours, (*path, "x-pyorch"))),
        priority=int(ours.get("priority", PRIORITY)),
        runtime=runtime(data),
        device_ids=device_ids(data),
    )


def runtime(data: Mapping[str, Any]) -> str:
    """ "" where any runtime of the OCI's standard container will do: ours is one."""
    word = str(data.get("runtime") or "")
    return "" if word in STANDARD else word


def _mode(word: Any) -> str:
    if word not in MODES:
        raise ValueError(f"expected {', '.join(MODES[:-1])} or {MODES[-1]}, but found {word!r}")
    return str(word)


def _constraints(context: Context, written: Mapping[str, Any], path: Path) -> Iterator[Constraint]:
    for index, text in enumerate(written.get("constraints") or ()):
        place = (*path, "constraints", index)
        found = _CONSTRAINT.fullmatch(str(text)) if text is not None else None
        if text is None:
            continue
        if found is None:
            context.complain(place, f"expected KEY==VALUE or KEY!=VALUE, but found {text!r}")
        elif complaint := _unknown(found[1]):
            context.complain(place, complaint)
        else:
            yield Constraint(found[1], found[3], found[2] == "==")


def _spread(context: Context, written: Mapping[str, Any], path: Path) -> Iterator[str]:
    for index, item in enumerate(written.get("preferences") or ()):
        key = (item or {}).get("spread")
        if key is None:
            continue
        if complaint := _unknown(str(key)):
            context.complain((*path, "preferences", index, "spread"), complaint)
        else:
            yield str(key)


def _unknown(key: str) -> str | None:
    """What is wrong with a constraint's or preference's key."""
    if key in FIXED_KEYS or any(key.startswith(start) and len(key) > len(start) for start in LABEL_KEYS):
        return None
    known = [*FIXED_KEYS, *(f"{start}NAME" for start in LABEL_KEYS)]
    near = did_you_mean(key, [*FIXED_KEYS, *LABEL_KEYS])
    return f"unknown key {key!r}: expected {', '.join(known[:-1])} or {known[-1]}{near}"


def _affinities(context: Context, ours: Mapping[str, Any], path: Path) -> Iterator[Affinity]:
    for index, item in enumerate(ours.get("affinity") or ()):
        place = (*path, "affinity", index)
        kinds = [kind for kind in ("with", "apart_from", "node") if (item or {}).get(kind)]
        if len(kinds) != 1:
            context.complain(place, "expected one of with: SERVICE, apart_from: SERVICE or node: {LABEL: VALUE}")
            continue
        weight, required = int(item.get("weight") or 10), bool(item.get("required"))
        match kinds[0]:
            case "node":
                for label, value in item["node"].items():
                    yield Affinity(weight, label=(label, str(value)), required=required)
            case "with":
                yield Affinity(weight, f"{context.stack}/{item['with']}", required=required)
            case "apart_from":
                yield Affinity(-weight, f"{context.stack}/{item['apart_from']}", required=required)


def shares(context: Context, ours: Mapping[str, Any]) -> Shares:
    """The stack's `x-pyorch` reserve, quota and gang."""
    reserve, quota = ours.get("reserve") or {}, ours.get("quota") or {}
    return Shares(
        reserve_cpus=context.read(reserve, ("x-pyorch", "reserve"), "cpus", units.cpus, 0.0),
        reserve_memory=context.read(reserve, ("x-pyorch", "reserve"), "memory", units.size, 0),
        quota_cpus=context.read(quota, ("x-pyorch", "quota"), "cpus", units.cpus, None),
        quota_memory=context.read(quota, ("x-pyorch", "quota"), "memory", units.size, None),
        gang=bool(ours.get("gang")),
    )


def neighbours(context: Context, service: Service, services: Mapping[str, Service]) -> None:
    """Affinities lead to services of the stack; what must be beside itself is never anywhere first."""
    for index, item in enumerate((service.extensions.get("x-pyorch") or {}).get("affinity") or ()):
        for kind in ("with", "apart_from"):
            name = (item or {}).get(kind)
            place = ("services", service.name, "x-pyorch", "affinity", index, kind)
            if name is not None and name not in services:
                context.complain(place, f"'{name}' is no service{did_you_mean(name, services)}")
            elif kind == "with" and name == service.name and item.get("required"):
                context.complain(place, f"'{name}' cannot be required beside itself: its first replica never starts")


def asked(service: Service, stack: Stack) -> Request:
    """All that one replica of `service` asks for. Volumes by the names the host knows; external ones pin nothing."""
    place = service.placement
    volumes = (stack.volumes.get(mount.source or "") for mount in service.mounts if mount.kind == "volume")
    return Request(
        cpus=service.reservations.cpus,
        memory=service.reservations.memory,
        pids=service.limits.pids or 0,
        devices=service.reservations.devices,
        ports=tuple(
            HostPort(port.published, port.protocol, port.host_ip)
            for port in service.ports
            if port.published is not None
        ),
        runtime=place.runtime,
        architecture=architecture(service.platform),
        constraints=place.constraints,
        service=f"{stack.name}/{service.name}",
        per_node=place.per_node or (1 if place.everywhere else 0),
        volumes=tuple(dict.fromkeys(volume.name for volume in volumes if volume is not None and not volume.external)),
        spread=place.spread,
        affinities=place.affinities,
        priority=place.priority,
        spare_cpus=stack.shares.reserve_cpus,
        spare_memory=stack.shares.reserve_memory,
    )


def architecture(platform: str | None) -> str:
    """ "linux/arm64/v8" → "arm64"; "" where none is asked for."""
    parts = (platform or "").split("/")
    return parts[1] if len(parts) > 1 else ""
