"""Values set in the text of a YAML file, in their places: comments, order and style of everything else stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from orchestrator.errors import Conflict

Path = tuple[str, ...]


def edited(text: str, values: Mapping[Path, str]) -> str:
    """The text with a scalar set at each path; missing maps on the way are written in flow style.

    Raises Conflict where a path leads through something that is no map, or an anchor or merge hides its place.
    """
    for path, value in values.items():
        text = _set(text, path, value)
    return text


def _set(text: str, path: Path, value: str) -> str:
    wanted = _apart(yaml.safe_load(text))
    _put(wanted, path, yaml.safe_load(value))
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, step in enumerate(path):
        if not isinstance(node, yaml.MappingNode):
            raise Conflict(f"cannot write {'.'.join(path)}: {'.'.join(path[:depth])} is no map in this file")
        found = next((below for key, below in node.value if key.value == step), None)
        if found is None:
            result = _insert(text, node, path[depth:], value)
            break
        node = found
    else:
        start, end = node.start_mark.index, node.end_mark.index
        result = f"{text[:start]}{value}{text[end:]}"
    try:
        if yaml.safe_load(result) == wanted:
            return result
    except yaml.YAMLError:
        pass
    raise Conflict(f"cannot write {'.'.join(path)} in place: an anchor, a merge or an unusual form is in the way")


def _insert(text: str, inside: yaml.MappingNode, rest: Path, value: str) -> str:
    entry = f"{rest[-1]}: {value}"
    for step in reversed(rest[:-1]):
        entry = f"{step}: {{{entry}}}"
    if inside.flow_style:
        at = inside.start_mark.index + 1
        return f"{text[:at]}{entry}{', ' if inside.value else ''}{text[at:]}"
    first = inside.value[0][0].start_mark
    return f"{text[: first.index]}{entry}\n{' ' * first.column}{text[first.index :]}"


def _apart(data: Any) -> Any:
    """A copy in which nothing is shared: what an alias stands for is a thing of its own."""
    if isinstance(data, dict):
        return {key: _apart(value) for key, value in data.items()}
    return [_apart(value) for value in data] if isinstance(data, list) else data


def _put(data: Any, path: Path, value: Any) -> None:
    for step in path[:-1]:
        below = data.get(step)
        if below is None:
            below = data[step] = {}
        data = below
    data[path[-1]] = value
