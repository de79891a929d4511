"""Several files, an extended service, an included resource: one laid over the other by the rules of the Compose
Specification ("Merge and override"). Maps merge key by key and lists are appended, unless the table says otherwise;
`unique` then sorts out what two lists say about the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from orchestrator.stack.places import Path
from orchestrator.stack.scalars import words
from orchestrator.stack.tree import Fork, List, Map, mapped, plant


class Clash(Exception):
    """Two values that cannot be merged: a list over a map, or the like."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


Rule: TypeAlias = "Callable[[Any, Any, Path, Fork[Rule] | None], Any]"


def laid_over(old: Any, new: Any, path: Path = ()) -> Any:
    """`new` over `old`, both as they were written or made long. Raises Clash."""
    fork: Fork[Rule] | None = _RULES
    for step in path:
        fork = fork.step(step) if fork else None
    return _merged(old, new, path, fork)


def _merged(old: Any, new: Any, path: Path, fork: Fork[Rule] | None) -> Any:
    if fork is not None and fork.rule is not None:
        return fork.rule(old, new, path, fork)
    if new is None:
        return old
    if isinstance(old, Map):
        return _maps(old, new, path, fork)
    if isinstance(old, List):
        if not isinstance(new, List):
            raise Clash(path)
        return List([*old, *new], [*old.marks, *new.marks])
    return new


def _maps(old: Any, new: Any, path: Path, fork: Fork[Rule] | None) -> Any:
    if not isinstance(old, Map) or not isinstance(new, Map):
        raise Clash(path)
    for key, value in new.items():
        mark = new.marks.get(key)
        if key in old:
            value = _merged(old[key], value, (*path, key), fork.step(key) if fork else None)
            mark = mark or old.marks.get(key)
        old.put(key, value, mark)
    return old


def _replaced(_: Any, new: Any, path: Path, fork: Fork[Rule] | None) -> Any:
    return new


def _as_pairs(old: Any, new: Any, path: Path, fork: Fork[Rule] | None) -> Any:
    """Both as lists, one after the other: what stands later wins."""
    first, second = _listed(old), _listed(new)
    return List([*first, *second], [*first.marks, *second.marks])


def _hosts(old: Any, new: Any, path: Path, fork: Fork[Rule] | None) -> Any:
    first, second = _listed(old), _listed(new)
    for item, mark in second.pairs():
        if item not in first:
            first.add(item, mark)
    return first


def _build(old: Any, new: Any, path: Path, fork: Fork[Rule] | None) -> Any:
    return _maps(_context(old), _context(new), path, fork)


def _context(value: Any) -> Any:
    return Map({"context": value}) if isinstance(value, str) else value


def _depends_on(old: Any, new: Any, path: Path, fork: Fork[Rule] | None) -> Any:
    usual = {"condition": "service_started", "required": True}
    return _maps(named(old, usual), named(new, usual), path, fork)


def _named(old: Any, new: Any, path: Path, fork: Fork[Rule] | None) -> Any:
    return _maps(named(old, None), named(new, None), path, fork)


def _logging(old: Any, new: Any, path: Path, fork: Fork[Rule] | None) -> Any:
    """Options of another driver mean nothing to this one."""
    if (
        isinstance(old, Map)
        and isinstance(new, Map)
        and old.get("driver", new.get("driver")) != new.get("driver", old.get("driver"))
    ):
        return new
    return _maps(old, new, path, fork)


def _subnets(old: Any, new: Any, path: Path, fork: Fork[Rule] | None) -> Any:
    """Merge those of the same subnet."""
    if not isinstance(old, List) or not isinstance(new, List):
        raise Clash(path)
    result = List()
    for below, mark in old.pairs():
        for over, over_mark in new.pairs():
            if not isinstance(below, Map) or not isinstance(over, Map):
                raise Clash(path)
            known = [item.get("subnet") for item in result]
            if over.get("subnet") not in (below.get("subnet"), *known):
                result.add(over, over_mark)
                continue
            merged = _maps(below, over, path, None)
            if merged.get("subnet") in known:
                result[known.index(merged.get("subnet"))] = merged
            else:
                result.add(merged, over_mark or mark)
    return result


def _listed(value: Any) -> List:
    """{A: 1, B: null} → ["A=1", "B"]; {host: [a, b]} → ["host=a", "host=b"]; a text → [text]."""
    if isinstance(value, List):
        return value
    result = List()
    if isinstance(value, Map):
        for key, inner in sorted(value.items()):
            for one in inner if isinstance(inner, list) else [inner]:
                result.add(key if one is None else f"{key}={words(one)}", value.marks.get(key))
    elif isinstance(value, str):
        result.add(value, None)
    return result


def named(value: Any, usual: dict[str, Any] | None) -> Any:
    """[a, b] → {a: usual, b: usual}; a map as it is."""
    if not isinstance(value, List):
        return value
    result = Map()
    for name, mark in value.pairs():
        if name is None:  # taken out, with a complaint
            continue
        result.put(str(name), None if usual is None else mapped(usual, None), mark)
    return result


_TABLE: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "services.*.command",
            "services.*.entrypoint",
            "services.*.healthcheck.test",
            "services.*.ulimits.*",
        ),
        _replaced,
    ),
    **dict.fromkeys(
        (
            "services.*.annotations",
            "services.*.build.additional_contexts",
            "services.*.build.args",
            "services.*.build.labels",
            "services.*.deploy.labels",
            "services.*.dns",
            "services.*.dns_opt",
            "services.*.dns_search",
            "services.*.env_file",
            "services.*.environment",
            "services.*.label_file",
            "services.*.labels",
            "services.*.sysctls",
            "services.*.tmpfs",
            "networks.*.labels",
            "volumes.*.labels",
        ),
        _as_pairs,
    ),
    "services.*.build": _build,
    "services.*.build.extra_hosts": _hosts,
    "services.*.depends_on": _depends_on,
    "services.*.extra_hosts": _hosts,
    "services.*.logging": _logging,
    "services.*.models": _named,
    "services.*.networks": _named,
    "networks.*.ipam.config": _subnets,
}
_RULES: Fork[Rule] = plant(_TABLE)
