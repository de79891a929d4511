"""What a service may use and what is kept for it: `deploy.resources`, and the older keys that say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar

from orchestrator import units
from orchestrator.scheduler.node import ALL, Request
from orchestrator.stack.context import Context, size_of
from orchestrator.stack.model import Limits
from orchestrator.stack.places import Path

Value = TypeVar("Value", int, float)


def limits(context: Context, data: dict[str, Any], path: Path) -> Limits:
    """Zero means no limit, as in Docker; of `pids`, so does -1."""
    written = _written(data, "limits")
    below = (*path, "deploy", "resources", "limits")
    cpus = context.read(written, below, "cpus", units.cpus, None)
    memory = context.read(written, below, "memory", size_of, None)
    cpus = _same(context, path, cpus, context.read(data, path, "cpus", units.cpus, None), "cpus", below)
    memory = _same(context, path, memory, context.read(data, path, "mem_limit", size_of, None), "mem_limit", below)
    pids = _same(context, path, written.get("pids"), data.get("pids_limit"), "pids_limit", below)
    found = Limits(
        cpus=cpus or None,
        memory=memory or None,
        pids=pids if pids is not None and pids > 0 else -1 if pids == -1 else None,
        memswap=context.read(data, path, "memswap_limit", _swap, None),
        mem_swappiness=context.read(data, path, "mem_swappiness", lambda word: _number(word, 0, 100), None),
        oom_kill_disable=bool(data.get("oom_kill_disable", False)),
        cpu_shares=context.read(data, path, "cpu_shares", lambda word: _number(word, 0, 262144), None) or None,
        cpu_quota=context.read(data, path, "cpu_quota", lambda word: _number(word, -1, 1 << 40), None) or None,
        cpu_period=context.read(data, path, "cpu_period", _period, None) or None,
    )
    if found.cpus and (found.cpu_quota or found.cpu_period):
        key = "cpu_quota" if found.cpu_quota else "cpu_period"
        context.complain((*path, key), "says the same as 'cpus': write one of the two")
    if found.memswap and found.memswap > 0 and found.memory is None:
        context.complain((*path, "memswap_limit"), "needs a limit of memory beside it: write mem_limit")
    elif found.memswap and found.memory and 0 < found.memswap < found.memory:
        context.complain((*path, "memswap_limit"), "counts memory and swap together: it cannot be less than mem_limit")
    return found


def reserved(context: Context, data: dict[str, Any], path: Path) -> Request:
    written, below = _written(data, "reservations"), (*path, "deploy", "resources", "reservations")
    cpus = context.read(written, below, "cpus", units.cpus, None)
    memory = context.read(written, below, "memory", size_of, None)
    short = context.read(data, path, "mem_reservation", size_of, None)
    bytes_ = _same(context, path, memory, short, "mem_reservation", below) or 0
    return Request(cpus or 0.0, bytes_, devices=_devices(context, data, written, below))


def _devices(
    context: Context, data: dict[str, Any], written: dict[str, Any], path: Path
) -> tuple[tuple[str, int], ...]:
    """(kind, how many) of `gpus`, `devices` and `generic_resources`. A device's kind is the first thing it must be able
    to do."""
    counts: dict[str, int] = {}
    for kind, item in _asked_for(data):
        some = len(item.get("device_ids") or ()) or item.get("count", 1)
        counts[kind] = ALL if some in ("all", -1) else min(counts.get(kind, 0) + int(some), ALL)
    for index, item in enumerate(written.get("devices") or ()):
        if item is not None and not any(item.get("capabilities") or ()):
            context.complain((*path, "devices", index), "'capabilities' is missing, such as [gpu]")
    for index, item in enumerate(written.get("generic_resources") or ()):
        spec = (item or {}).get("discrete_resource_spec") or {}
        if item is not None and not spec.get("kind"):
            context.complain((*path, "generic_resources", index), "expected discrete_resource_spec with kind and value")
        elif item is not None:
            counts[str(spec["kind"])] = counts.get(str(spec["kind"]), 0) + int(spec.get("value") or 1)
    return tuple(sorted((kind, count) for kind, count in counts.items() if count > 0))


def _asked_for(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, what is written) of each request for devices; those of `gpus` are GPUs whatever else they can do."""
    for item in _written(data, "reservations").get("devices") or ():
        kinds = [str(kind) for kind in (item or {}).get("capabilities") or () if kind]
        if kinds:
            yield kinds[0], item
    for item in data.get("gpus") or ():
        if item is not None:
            yield "gpu", item


def device_ids(data: dict[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """By kind, the ids of the devices that are asked for by name."""
    found: dict[str, list[str]] = {}
    for kind, item in _asked_for(data):
        found.setdefault(kind, []).extend(str(one) for one in item.get("device_ids") or ())
    return tuple((kind, tuple(ids)) for kind, ids in found.items() if ids)


def _written(data: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = ((data.get("deploy") or {}).get("resources") or {}).get(kind) or {}
    return found


def _same(context: Context, path: Path, long: Value | None, short: Value | None, key: str, below: Path) -> Value | None:
    """The value of a key that may stand in two places; both must say the same."""
    if long is not None and short is not None and long != short:
        place = ".".join(map(str, below[2:]))
        context.complain((*path, key), f"says {short}, but {place} says {long}; write one of the two")
    return long if long is not None else short


def _swap(word: Any) -> int:
    return -1 if str(word).strip() == "-1" else units.size(word)


def _number(word: Any, least: int, most: int) -> int:
    try:
        number = int(float(word))
    except ValueError:
        raise ValueError(f"expected a number, but found {word!r}") from None
    if not least <= number <= most:
        raise ValueError(f"expected a number from {least} to {most}, but found {word!r}")
    return number


def _period(word: Any) -> int:
    """Microseconds; Compose also takes a duration ("100ms")."""
    text = str(word).strip()
    number = _number(text, 0, 1_000_000) if re.fullmatch(r"\d+(\.0+)?", text) else round(units.duration(text) * 1e6)
    if number and not 1000 <= number <= 1_000_000:
        raise ValueError(f"expected a period of 1000 to 1000000 microseconds, but found {word!r}")
    return number
