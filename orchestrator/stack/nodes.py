"""A node file: the nodes that a stack is to be placed on, read with the same care as a stack file.

nodes: [{name: n1, cpus: 4, memory: 8G, labels: {disk: ssd}}, {shape: {cpus: 8, memory: 16G}, count: 20}, …]     or
shape: {cpus: 8, memory: 16G}
count: 20
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator import units
from orchestrator.errors import Mistake
from orchestrator.scheduler.filters import canonical
from orchestrator.scheduler.node import Node
from orchestrator.stack import filling, parse, text
from orchestrator.stack.context import Context
from orchestrator.stack.context import text as word
from orchestrator.stack.places import Complaints, Path, Source, did_you_mean, quoted, shown_name
from orchestrator.stack.reading import Reader

ROLES = ("worker", "manager")
ROOM = ("cpus", "memory")
MOST = 100_000  # nodes that `count` may ask for
# ruff: noqa: SIM905 (words in a row read better than a column of quotes)
KEYS = (
    "name cpus memory pids labels engine_labels role architecture os runtimes devices reserve oversubscribe ready"
    " cordoned drained"
).split()


@dataclass(frozen=True, slots=True)
class NodeFile:
    """`alike`: the file gives one shape and a count, so that only the number of nodes in use matters."""

    nodes: tuple[Node, ...]
    alike: bool = False


def read(path: str, directory: str, environment: Mapping[str, str]) -> NodeFile:
    """The nodes in the file at `path`. Raises Mistake with every complaint, each with its place."""
    complaints = Complaints()
    reader = Reader()
    where = os.path.normpath(os.path.join(directory, path))
    try:
        raw = reader.read(where, text.LARGEST + 1)
    except OSError as error:
        raise Mistake(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    if not raw.strip():
        raise Mistake(f"{shown_name(where, directory)}: is empty; expected 'nodes:', or 'shape:' and 'count:'")
    source, roots = text.compose(raw, Source(where, shown_name(where, directory)), complaints)
    complaints.raise_if_any()
    document = parse.read(source, roots[0], complaints)
    filling.fill(document, environment, complaints)
    context = Context("nodes", directory, environment, document.marks, complaints, reader)
    found = _file(context, document.data)
    complaints.raise_if_any()
    return found


def _file(context: Context, data: dict[str, Any]) -> NodeFile:
    for key in data:
        if key not in ("nodes", "shape", "count") and not key.startswith("x-"):
            hint = did_you_mean(key, ("nodes", "shape", "count"))
            context.complain((key,), f"unknown key {quoted(key)}{hint}", key=True)
    if "nodes" in data and "shape" in data:
        context.complain(("shape",), "write either 'nodes' or 'shape' and 'count'", key=True)
    if isinstance(data.get("shape"), dict):
        return NodeFile(_alike(context, data), alike=True)
    if not isinstance(data.get("nodes"), list) or not data["nodes"]:
        context.complain(("nodes",), "expected a list of nodes, such as [{name: n1, cpus: 4, memory: 8G}]")
        return NodeFile(())
    nodes: list[Node] = []
    lines: dict[str, int] = {}
    for index, item in enumerate(data["nodes"]):
        path: Path = ("nodes", index)
        if not isinstance(item, dict):
            context.complain(
                path, f"expected a node such as {{name: n1, cpus: 4, memory: 8G}}, but found {quoted(item)}"
            )
            continue
        line = context.marks[path][1].start_mark.line + 1
        for node in _entry(context, item, path, len(nodes) + 1):
            if node.name in lines:
                place = (*path, "name") if "name" in item else path
                context.complain(place, f"a node called {quoted(node.name)} stands on line {lines[node.name]} already")
            lines.setdefault(node.name, line)
            nodes.append(node)
    return NodeFile(tuple(nodes))


def _entry(context: Context, item: dict[str, Any], path: Path, number: int) -> tuple[Node, ...]:
    """One node, or `{shape, count}`: so many alike. Who has no name is called by its number in the file."""
    if not isinstance(item.get("shape"), dict):
        return (_node(context, item, path, _name(context, item, path) or f"n{number}"),)
    for key in item:
        if key not in ("shape", "count") and not key.startswith("x-"):
            context.complain((*path, key), f"unknown key {quoted(key)}: beside 'shape' stands only 'count'", key=True)
    return _alike(context, item, path, number)


def _name(context: Context, item: Mapping[str, Any], path: Path) -> str:
    name = _text(context, item, path, "name")
    if "name" in item and not name and not isinstance(item["name"], list | dict):
        context.complain((*path, "name"), "is empty")
    return name


def _alike(context: Context, data: dict[str, Any], path: Path = (), first: int = 1) -> tuple[Node, ...]:
    one = _node(context, data["shape"], (*path, "shape"), "n")
    if "name" in data["shape"]:
        context.complain((*path, "shape", "name"), "many nodes cannot have one name: they are n1, n2 …", key=True)
    count = data.get("count", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= MOST:
        context.complain((*path, "count"), f"expected a number of nodes from 1 to {MOST}, but found {quoted(count)}")
        count = 1
    return tuple(replace(one, name=f"n{number}") for number in range(first, first + count))


def _node(context: Context, item: dict[str, Any], path: Path, name: str) -> Node:
    for key in item:
        if key not in KEYS and not key.startswith("x-"):
            context.complain((*path, key), f"unknown key {quoted(key)}{did_you_mean(key, KEYS)}", key=True)
    cpus = _room(context, item, path, "cpus", units.cpus)
    memory = int(_room(context, item, path, "memory", units.size))
    reserve = _map(context, item, path, "reserve", ROOM)
    here = (*path, "reserve")
    kept_cpus = context.read(reserve, here, "cpus", units.cpus, 0.0)
    kept_memory = context.read(reserve, here, "memory", units.size, 0)
    if (cpus and kept_cpus >= cpus) or (memory and kept_memory >= memory):
        context.complain(here, "nothing is left: the reserve is as large as the node", key=True)
    ratios = _map(context, item, path, "oversubscribe", ROOM)
    return Node(
        name=name,
        cpus=round(cpus - kept_cpus, 6),
        memory=memory - kept_memory,
        ready=_flag(context, item, path, "ready", usual=True),
        labels=_words(_map(context, item, path, "labels")),
        pids=_count(context, item, path, "pids"),
        devices={
            key: _count(context, devices, (*path, "devices"), key)
            for devices in [_map(context, item, path, "devices")]
            for key in devices
        },
        runtimes=_list(context, item, path, "runtimes"),
        architecture=canonical(_text(context, item, path, "architecture")),
        os=_text(context, item, path, "os") or "linux",
        role=_role(context, item, path),
        engine_labels=_words(_map(context, item, path, "engine_labels")),
        cordoned=_flag(context, item, path, "cordoned", usual=False),
        drained=_flag(context, item, path, "drained", usual=False),
        cpu_ratio=_ratio(context, ratios, (*path, "oversubscribe"), "cpus"),
        memory_ratio=_ratio(context, ratios, (*path, "oversubscribe"), "memory"),
    )


def _room(context: Context, item: Mapping[str, Any], path: Path, key: str, reader: Callable[[Any], float]) -> float:
    """Cores or bytes; 0, with a complaint, where it is missing, none, or no amount."""
    if item.get(key) is None:
        context.complain(path, f"{key!r} is missing")
        return 0.0
    amount = context.read(item, path, key, reader, -1.0)
    if amount == 0:
        context.complain((*path, key), f"is {word(item[key])}: a node without {key} can take nothing")
    return max(amount, 0.0)


def _map(context: Context, item: Mapping[str, Any], path: Path, key: str, only: Sequence[str] = ()) -> dict[str, Any]:
    """`only`: the keys that it may have (none named: any)."""
    value = item.get(key)
    if value is None or isinstance(value, dict):
        for inner in value or () if only else ():
            if inner not in only and not inner.startswith("x-"):
                hint = did_you_mean(inner, only)
                context.complain((*path, key, inner), f"unknown key {quoted(inner)}{hint}", key=True)
        return value or {}
    context.complain((*path, key), f"expected a map, but found {quoted(value)}")
    return {}


def _words(written: Mapping[str, Any]) -> dict[str, str]:
    return {key: word(value) for key, value in written.items()}


def _text(context: Context, item: Mapping[str, Any], path: Path, key: str) -> str:
    value = item.get(key)
    if isinstance(value, list | dict):
        context.complain((*path, key), f"expected a word, but found {quoted(value)}")
        return ""
    return word(value)


def _role(context: Context, item: Mapping[str, Any], path: Path) -> str:
    role = _text(context, item, path, "role") or ROLES[0]
    if role not in ROLES:
        context.complain((*path, "role"), f"expected {' or '.join(ROLES)}, but found {quoted(role)}")
    return role


def _list(context: Context, item: Mapping[str, Any], path: Path, key: str) -> tuple[str, ...]:
    value = item.get(key) or []
    if not isinstance(value, list) or any(isinstance(one, list | dict) for one in value):
        context.complain((*path, key), f"expected a list of words, but found {quoted(value)}")
        return ()
    return tuple(map(word, value))


def _flag(context: Context, item: Mapping[str, Any], path: Path, key: str, *, usual: bool) -> bool:
    value = item.get(key, usual)
    if not isinstance(value, bool):
        context.complain((*path, key), f"expected true or false, but found {quoted(value)}")
        return usual
    return value


def _count(context: Context, item: Mapping[str, Any], path: Path, key: str) -> int:
    value = item.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        context.complain((*path, key), f"expected a whole number, 0 or more, but found {quoted(value)}")
        return 0
    return value


def _ratio(context: Context, item: Mapping[str, Any], path: Path, key: str) -> float:
    value = item.get(key, 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100:
        context.complain((*path, key), f"expected a ratio such as 1.5 (at most 100), but found {quoted(value)}")
        return 1.0
    return float(value)
