"""What `pyorch config` prints of a project: the whole of it, or one list of what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from orchestrator.errors import Mistake
from orchestrator.stack import selection
from orchestrator.stack.effective import Effective, effective, model
from orchestrator.stack.interpolation import variables_of
from orchestrator.stack.loader import Options
from orchestrator.stack.places import Complaints, did_you_mean
from orchestrator.stack.project import Asked
from orchestrator.stack.tree import Map


def text(
    wanted: tuple[str, str],
    asked: Asked,
    options: Options,
    complaints: Complaints,
    services: Sequence[str],
    *,
    format: Literal["yaml", "json"],
    quiet: bool = False,
    pinned: Callable[[Sequence[str]], Mapping[str, str]] | None = None,
) -> str:
    """`wanted`: (the list, its word), or ("", ""): everything, nothing where `quiet`. `pinned`: names of images → the
    same with their digest. Raises Mistake with every complaint there is."""
    if wanted[0] == "variables":
        found = model(asked, options, complaints)
        complaints.raise_if_any()
        return _variables(found.tree)
    if not options.interpolate:
        return _as_written(wanted[0], model(asked, options, complaints), services, format)
    found = effective(asked, options, complaints, services)
    complaints.raise_if_any()
    tree = found.tree
    if wanted[0] == "profiles":
        return _lines(sorted(_profiles(found)))
    if services:
        _known(services, tree)
        tree["services"] = found.chosen.only(services)
    selection.without_unused(tree)
    if pinned is not None:
        _pin(tree, pinned)
    if wanted[0]:
        return _lines(_list(wanted, found))
    return "" if quiet else _printed(tree, format)


def _printed(tree: Map, format: Literal["yaml", "json"]) -> str:
    from orchestrator.stack.dump import dump  # `config -q` prints nothing
    from orchestrator.stack.shape import shaped

    return dump(shaped(tree, json=format == "json"), format)


def _pin(tree: Map, pinned: Callable[[Sequence[str]], Mapping[str, str]]) -> None:
    services = [one for one in (tree.get("services") or {}).values() if one.get("image") and "build" not in one]
    named = [str(one["image"]) for one in services if not str(one["image"]).startswith(("host:", "dir:"))]
    digests = pinned(list(dict.fromkeys(named)))
    for one in services:
        one["image"] = digests.get(str(one["image"]), one["image"])


def _as_written(wanted: str, found: Effective, services: Sequence[str], format: Literal["yaml", "json"]) -> str:
    """Where variables are not filled in, nothing can be said of values: the canonical tree is shown."""
    from orchestrator.stack import shape
    from orchestrator.stack.dump import dump
    from orchestrator.stack.emit import natural

    found.complaints.raise_if_any()
    tree = found.tree
    if services:
        _known(services, tree)
        keep = selection.Chosen(tree["services"]).only(services)
        tree["services"] = keep
    if wanted and wanted != "environment":
        return _lines(sorted(tree.get(wanted) or ()))
    shown = shape.by_name(tree, str if format == "json" else natural)
    return dump(shape.without_empty_lists(shown) if format == "json" else shown, format, escaped=False)


def _known(names: Sequence[str], tree: Map) -> None:
    known = tree.get("services") or {}
    unknown = [name for name in names if name not in known]
    if unknown:
        have = ", ".join(sorted(known))
        raise Mistake(*(f"no such service: {n}{did_you_mean(n, known)}; the stack has {have}" for n in unknown))


def _list(wanted: tuple[str, str], found: Effective) -> Iterable[str]:
    tree, (kind, word) = found.tree, wanted
    match kind:
        case "environment":
            return sorted(f"{key}={value}" for key, value in found.project.variables.items())
        case "services":
            return in_order(tree["services"])
        case "images":
            name = found.project.name
            return sorted({s.get("image") or f"{name}-{key}" for key, s in tree["services"].items()})
        case "hash":
            return _hashes(tree, word)
    return sorted(tree.get(kind) or ())


def _profiles(found: Effective) -> set[str]:
    everyone = [*found.chosen.services.values(), *found.chosen.disabled.values()]
    return {profile for service in everyone for profile in service.get("profiles") or ()}


def in_order(services: Map) -> list[str]:
    """Every service after those it waits for."""
    from graphlib import TopologicalSorter

    graph = {n: [need for need in selection.needs(s) if need in services] for n, s in sorted(services.items())}
    return list(TopologicalSorter(graph).static_order())


def _hashes(tree: Map, wanted: str) -> list[str]:
    """As docker compose makes them: SHA-256 of the service's JSON, without what may change while it runs."""
    names = sorted(tree["services"]) if wanted == "*" else wanted.split(",")
    _known(names, tree)
    from orchestrator.stack.shape import shaped

    shown = shaped(tree, json=True)["services"]
    return [f"{name} {_digest(shown[name])}" for name in names]


def _digest(service: dict[str, Any]) -> str:
    meant = {k: v for k, v in service.items() if k not in ("build", "pull_policy", "scale", "depends_on", "profiles")}
    if isinstance(deploy := meant.get("deploy"), dict):
        meant["deploy"] = {key: value for key, value in deploy.items() if key != "replicas"}
    import hashlib  # only --hash needs it

    from orchestrator.stack.dump import as_json

    return hashlib.sha256(as_json(meant).encode()).hexdigest()


def _variables(tree: Map) -> str:
    found: dict[str, tuple[bool, str, str]] = {}
    for value in _texts(tree):
        for name, required, default, alternate in variables_of(value):
            before = found.get(name, (False, "", ""))
            found[name] = (before[0] or required, before[1] or default, before[2] or alternate)
    rows = [("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE")]
    rows += [(name, str(row[0]).lower(), row[1], row[2]) for name, row in sorted(found.items())]
    widths = [max(20, 3 + max(map(len, column))) for column in zip(*rows, strict=True)]
    return _lines(
        "".join(f"{cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=False)) + row[-1] for row in rows
    )


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def _lines(values: Iterable[str]) -> str:
    return "".join(f"{value}\n" for value in values)
