"""Where the values of the effective stack come from: file and line, what they replaced, what filled their variables.

The tree knows the place of each value that stands in it. What a file replaced is found by laying the files over each
other once more, each time one fewer.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from yaml import ScalarNode

from orchestrator.errors import Mistake
from orchestrator.record import changed
from orchestrator.stack import values
from orchestrator.stack.effective import Effective, effective, model
from orchestrator.stack.interpolation import variables_of
from orchestrator.stack.loader import Options
from orchestrator.stack.places import Complaints, Mark, Path, Place, Source, did_you_mean, dotted, shown_name
from orchestrator.stack.project import Asked
from orchestrator.stack.tree import List, Map, mark_of

_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Variable:
    """`source`: where its value stands, in words."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Writing:
    """One place where the value was written, and the variables in what is written there."""

    place: Place
    text: str
    variables: tuple[Variable, ...] = ()


@dataclass(frozen=True, slots=True)
class Whence:
    """`writings`: the one that holds, then what it replaced; none: the value follows from the rest of the stack."""

    path: Path
    value: Any
    writings: tuple[Writing, ...]


@dataclass(slots=True)
class Search:
    """One effective stack, and the trees of its first files alone."""

    asked: Asked
    found: Effective
    layers: dict[int, Map] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: Asked) -> Search:
        complaints = Complaints()
        found = effective(asked, Options(), complaints)
        complaints.raise_if_any()
        return cls(asked, found)

    def layer(self, count: int) -> Map:
        """The tree of the first `count` files, before containers' files of variables are read."""
        if count not in self.layers:
            project = self.found.project
            fewer = changed(self.asked, files=project.files[:count], name=project.name)
            tree = model(fewer, Options(), Complaints()).tree
            values.settle(tree, Complaints())
            self.layers[count] = tree
        return self.layers[count]


def whence(search: Search, key: str) -> list[Whence]:
    """The origin of the value at a key path, or of all values below it. Raises Mistake where there is no such key."""
    path, value = _resolved(search.found.tree, key)
    return [Whence(leaf, inner, tuple(_writings(search, leaf))) for leaf, inner in _leaves(value, path)]


def first(search: Search, path: Path) -> Writing | None:
    """Only the writing that holds."""
    return next(_writings(search, path), None)


def _resolved(tree: Map, key: str) -> tuple[Path, Any]:
    path: Path = ()
    value: Any = tree
    rest = key.strip(".")
    while rest:
        step, rest = _next(value, rest)
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            if unwritten := _unwritten(key):
                raise Mistake(unwritten) from None
            known = list(map(str, value)) if isinstance(value, Mapping) else []
            at = f" in {dotted(path)}" if path else ""
            raise Mistake(f"there is no {step!r}{at}{did_you_mean(str(step), known)}") from None
        path = (*path, step)
    return path, value


def _unwritten(key: str) -> str:
    """What holds where the language has the key and the stack does not; "": it is no key of the language."""
    from orchestrator.stack.reference import entries, find

    asked = _bare(key)
    for entry in find(key, entries()):
        words = _bare(entry.path)
        if len(words) == len(asked) and (words[0], words[-1]) == (asked[0], asked[-1]):
            default = "" if entry.default is None else f"; its default is {json.dumps(entry.default)}"
            return f"{key} is not written{default}: `pyorch explain {entry.plain}` says more"
    return ""


def _bare(path: str) -> list[str]:
    """The steps of a path, without those into lists."""
    return re.sub(r"\[\d*\]", "", path.strip(".")).split(".")


def _next(value: Any, rest: str) -> tuple[str | int, str]:
    """The next step of a dotted path. Names may have dots in them: the longest that is there is meant."""
    if isinstance(value, Mapping):
        fits = [key for key in value if rest == key or rest.startswith((f"{key}.", f"{key}["))]
        if fits:
            longest = max(fits, key=len)
            return longest, rest[len(longest) :].removeprefix(".")
    found = _STEP.match(rest)
    if not found:
        raise Mistake(f"cannot read {rest!r} as a key path: write it as in services.web.ports[0]")
    return (int(found[1]) if found[1] else found[2]), rest[found.end() :].removeprefix(".")


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    else:
        yield path, value


def _writings(search: Search, path: Path) -> Iterator[Writing]:
    seen: list[Mark] = []
    count = len(search.found.project.files)
    for layer in range(count, 0, -1):
        mark = _mark(search.layer(layer), path)
        if mark is not None and not any(mark[1] is other[1] or _same(mark, other) for other in seen):
            seen.append(mark)
            yield _writing(search, mark)
        if mark is None and layer == count:
            if line := _from_a_file(search, path):
                yield line
            elif short := _short(search.layer(layer), path):
                yield _writing(search, short)


def _same(one: Mark, other: Mark) -> bool:
    """The same words, read twice."""
    return (one[0].path, one[1].start_mark.index) == (other[0].path, other[1].start_mark.index)


def _short(tree: Map, path: Path) -> Mark | None:
    """The word that the value is a part of, such as the `db` of `depends_on: [db]`. What is only missing from a map has
    none."""
    above = (_mark(tree, path[:length]) for length in range(len(path) - 1, 3, -1))
    mark = next(filter(None, above), None)
    return mark if mark and isinstance(mark[2], ScalarNode) and mark[2].value else None


def _mark(tree: Map, path: Path) -> Mark | None:
    branch: Any = tree
    try:
        for step in path[:-1]:
            branch = branch[step]
        return mark_of(branch, path[-1]) if path else None
    except (KeyError, IndexError, TypeError):
        return None


def _writing(search: Search, mark: Mark) -> Writing:
    source, _, node = mark
    start = node.start_mark
    text = getattr(node, "value", "")
    names = {name: default for name, _, default, _ in variables_of(text)} if isinstance(text, str) else {}
    line = source.lines[start.line].strip() if start.line < len(source.lines) else ""
    place = Place(source, start.line + 1, start.column + 1)
    return Writing(place, line, tuple(_variable(search, *item, source) for item in names.items()))


def _variable(search: Search, name: str, default: str, source: Source) -> Variable:
    project, home = search.found.project, search.found.project.directory
    value = project.variables.get(name)
    if name in search.asked.environment:
        return Variable(name, search.asked.environment[name], "the caller's environment")
    beside = os.path.join(os.path.dirname(source.path), ".env")
    for file in (*([beside] if source.via else ()), *reversed(project.env_files)):
        if line := _line_of(file, name):
            return Variable(name, value or "", f"{shown_name(file, home)}:{line}")
    if value is not None:
        return Variable(name, value, "the stack's name" if name == "COMPOSE_PROJECT_NAME" else "pyorch")
    return Variable(name, default, "the default here, as it is not set" if default else "not set")


def _from_a_file(search: Search, path: Path) -> Writing | None:
    """A variable of a container that its env_file brings."""
    if len(path) != 4 or path[0] != "services" or path[2] != "environment":
        return None
    service = search.layer(len(search.found.project.files)).get("services", Map()).get(path[1])
    items = service.get("env_file") if isinstance(service, Map) else None
    for item in reversed(items if isinstance(items, List) else []):
        file = str(item.get("path")) if isinstance(item, Map) else str(item)
        if line := _line_of(file, str(path[3])):
            source = Source(file, shown_name(file, search.found.project.directory))
            return Writing(Place(source, line, 1), _lines(file)[line - 1].strip())
    return None


def _line_of(file: str, name: str) -> int:
    """The last line that sets the variable; 0: none does."""
    pattern = re.compile(rf"\s*(?:export\s+)?{re.escape(name)}\s*(?:[=:]|$)")
    return max((number for number, line in enumerate(_lines(file), 1) if pattern.match(line)), default=0)


def _lines(file: str) -> list[str]:
    try:
        with open(file, encoding="utf-8-sig", errors="replace") as opened:
            return opened.read().split("\n")
    except OSError:
        return []
