"""What `pyorch config --why` and `--origins` print: where each value comes from."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from orchestrator.stack.places import Path
    from orchestrator.stack.project import Asked
    from orchestrator.stack.whence import Search, Whence, Writing


def why(asked: Asked, key: str) -> str:
    """The origin of one value, or of all values below a key."""
    from orchestrator.stack.whence import Search, whence

    return "\n".join(_said(one) for one in whence(Search.of(asked), key))


def _said(one: Whence) -> str:
    from orchestrator.stack.places import dotted

    text = f"{dotted(one.path)}: {_value(one.value)}\n"
    if not one.writings:
        return text + "  written by nobody: it follows from the rest of the stack\n"
    for index, writing in enumerate(one.writings):
        text += f"  {'over ' if index else ''}{_place(writing)}  {writing.text}\n"
        text += "".join(f"      {step}\n" for step in writing.place.source.via)
        for it in writing.variables:
            text += f"      {it.name} = {it.value!r}: {it.source}\n"
    return text


def _value(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _place(writing: Writing) -> str:
    return f"{writing.place.source.shown}:{writing.place.line}:{writing.place.column}"


def origins(asked: Asked) -> str:
    """The effective stack as YAML; behind each value the place where it was written, and its variables' sources."""
    from orchestrator.stack import selection, shape
    from orchestrator.stack.dump import dump
    from orchestrator.stack.whence import Search

    search = Search.of(asked)
    selection.without_unused(search.found.tree)
    text = dump(shape.shaped(search.found.tree), "yaml")
    lines = text.split("\n")
    width = min(max((len(line) for line in lines), default=0), 60)
    for number, path in sorted(_scalars(text)):
        if note := _note(search, path):
            lines[number] = f"{lines[number]:<{width}}  # {note}"
    return "\n".join(lines)


def _note(search: Search, path: Path) -> str:
    from orchestrator.stack.whence import first

    writing = first(search, path)
    if writing is None:
        return ""
    variables = "".join(f", {it.name}: {it.source}" for it in writing.variables)
    return f"{writing.place.source.shown}:{writing.place.line}{variables}"


def _scalars(text: str) -> Iterator[tuple[int, Path]]:
    """(line, path) of each scalar that a comment may stand behind: block scalars take it behind their first line."""
    import yaml

    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    yield from _below(root, ()) if root is not None else ()


def _below(node: Any, path: Path) -> Iterator[tuple[int, Path]]:
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _below(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _below(item, (*path, index))
    elif node.style in ("|", ">") or node.start_mark.line == node.end_mark.line:
        yield node.start_mark.line, path
