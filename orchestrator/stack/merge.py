"""Short forms made long, and several files made one, by the rules of the Compose Specification ("Merge and override").

Maps merge key by key, lists are appended without doubles, command and the like are replaced. Ports and mounts that say
the same thing in two files are sorted out where they are understood (`ports`, `mounts`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from orchestrator.stack.places import Marks, Path
from orchestrator.stack.text import Document

_REPLACED = frozenset({"command", "entrypoint", "test", "config"})


def lengthen(document: Document) -> None:
    """Bring lists that mean maps (environment, depends_on …) and texts that mean lists into one form."""
    marks = document.marks
    for name, service in _maps(document.data, "services"):
        path: Path = ("services", name)
        _pairs_to_map(service, "environment", path, marks)
        _pairs_to_map(service, "labels", path, marks)
        _names_to_map(service, "depends_on", path, marks, {"condition": "service_started"})
        _names_to_map(service, "networks", path, marks, None)
        _text_to_list(service, "env_file", path, marks)
        _text_to_list(service, "tmpfs", path, marks)
        if isinstance(service.get("deploy"), dict):
            _pairs_to_map(service["deploy"], "labels", (*path, "deploy"), marks)
    for kind in ("networks", "volumes", "configs", "secrets"):
        for name, thing in _maps(document.data, kind):
            _pairs_to_map(thing, "labels", (kind, name), marks)


def merge(base: Document, over: Document) -> None:
    """Lay `over` on `base`; the marks follow the values."""
    below: dict[Path, list[Path]] = defaultdict(list)
    for path in over.marks:
        below[path[:3]].append(path)
    moved: Marks = {}
    _merge_maps(base.data, over.data, (), over.marks, below, moved)
    base.marks.update(over.marks)
    base.marks.update(moved)


def _merge_maps(
    base: dict[str, Any], over: dict[str, Any], path: Path, marks: Marks, below: dict[Path, list[Path]], moved: Marks
) -> None:
    for key, value in over.items():
        here, old = (*path, key), base.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge_maps(old, value, here, marks, below, moved)
        elif isinstance(old, list) and isinstance(value, list) and key not in _REPLACED:
            _append(old, value, here, marks, below, moved)
        elif value is not None or old is None:
            base[key] = value


def _append(
    old: list[Any], new: list[Any], path: Path, marks: Marks, below: dict[Path, list[Path]], moved: Marks
) -> None:
    """Append what is not there yet. The marks of the new elements move to their new places, those of the old stay."""
    at, places = len(path), dict[int, int]()
    for number, item in enumerate(new):
        if item not in old:
            places[number] = len(old)
            old.append(item)
    for place in below.get(path[:3], ()):
        if len(place) > at and place[:at] == path and isinstance(index := place[at], int):
            mark = marks.pop(place)
            if index in places:
                moved[(*path, places[index], *place[at + 1 :])] = mark


def _maps(data: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    things = data.get(key)
    return [(n, t) for n, t in things.items() if isinstance(t, dict)] if isinstance(things, dict) else []


def _pairs_to_map(inside: dict[str, Any], key: str, path: Path, marks: Marks) -> None:
    """["A=1", "B"] → {"A": "1", "B": None}."""
    if isinstance(pairs := inside.get(key), list):
        result: dict[str, Any] = {}
        for index, pair in enumerate(pairs):
            if pair is not None:
                name, equals, value = pair.partition("=")
                result[name] = value if equals else None
                marks[(*path, key, name)] = marks[(*path, key, index)]
        inside[key] = result


def _names_to_map(inside: dict[str, Any], key: str, path: Path, marks: Marks, value: dict[str, Any] | None) -> None:
    if isinstance(names := inside.get(key), list):
        inside[key] = {name: dict(value) if value else None for name in names if name is not None}
        for index, name in enumerate(names):
            if name is not None:
                marks[(*path, key, name)] = marks[(*path, key, index)]


def _text_to_list(inside: dict[str, Any], key: str, path: Path, marks: Marks) -> None:
    if isinstance(text := inside.get(key), str):
        inside[key] = [text]
        marks[(*path, key, 0)] = marks[(*path, key)]
