"""YAML text → libyaml's nodes, each with its line and column (`reading` makes values of them).

What could be made to explode is counted before it is expanded.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from orchestrator.stack.places import Complaints, Place, Source

LARGEST = 6 << 20  # bytes of one file
DEEPEST = 100  # levels of nesting, aliases followed
MOST = 500_000  # values as written, with the beginning and end of each list and map; and with what aliases stand for
_DOCUMENTS = 1_000  # of one file: as many as there may be files

_CONTROL = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]"
_ASCII = bytes([9, 10, 13, *range(32, 127)])  # what every file may have


class TooMuch(Exception):
    """The text is larger or deeper than any stack file; `mark` says where it became so."""

    def __init__(self, text: str, mark: Any = None) -> None:
        super().__init__(text)
        self.mark = mark


class _Composer(yaml.CSafeLoader):
    """libyaml's composer. It asks `resolve` for the tag of each node without one, and calls descend/ascend around each
    child: the place to stop before libyaml's and our own recursion go too deep. Typing waits until interpolation."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.depth = 0

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        return ("plain" if implicit[0] else "quoted") if kind is yaml.ScalarNode else "collection"

    def descend_resolver(self, parent: Any, index: Any) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise TooMuch(f"nested deeper than {DEEPEST} levels", parent.start_mark)

    def ascend_resolver(self) -> None:
        self.depth -= 1


def compose(raw: bytes, source: Source, complaints: Complaints) -> tuple[Source, list[yaml.MappingNode]]:
    """The file's node trees, one for each document, checked to be of sane size; none: a complaint says why."""
    whole = Place(source)
    if len(raw) > LARGEST:
        complaints.add(whole, f"is larger than {LARGEST >> 20} MiB, which is the most that a stack file may have")
        return source, []
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = len(raw[raw.rfind(b"\n", 0, error.start) + 1 : error.start].decode()) + 1
        source = _with_lines(source, raw.decode("utf-8", "replace"))
        complaints.add(
            Place(source, line, column), f"is not UTF-8 text: byte 0x{raw[error.start]:02x}; save it as UTF-8"
        )
        return source, []
    source = _with_lines(source, text)
    if raw.translate(None, _ASCII) and (bad := re.search(_CONTROL, text)):
        before = _lines(text[: bad.start()])
        line, column = len(before), len(before[-1]) + 1
        complaints.add(Place(source, line, column), f"control character U+{ord(bad[0]):04X} is not allowed in YAML")
        return source, []
    return source, _roots(raw, source, complaints)


def _with_lines(source: Source, text: str) -> Source:
    return Source(source.path, source.shown, _lines(text), source.via)


def _lines(text: str) -> tuple[str, ...]:
    """As YAML counts lines (str.splitlines also breaks at form feeds and the like)."""
    return tuple(re.split("\r\n|[\n\r\x85\u2028\u2029]", text))


def _roots(raw: bytes, source: Source, complaints: Complaints) -> list[yaml.MappingNode]:
    """The documents of the file ("---" begins another, which is laid over the first)."""
    composer = _Composer(raw)
    roots: list[yaml.MappingNode] = []
    try:
        _count(raw)
        while composer.check_node():
            root = composer.get_node()
            if not isinstance(root, yaml.MappingNode):
                empty = isinstance(root, yaml.ScalarNode) and not root.value and root.tag == "plain"
                wanted = "a map with 'services:' at the top level"
                complaints.add(at(source, root), f"is empty; expected {wanted}" if empty else f"expected {wanted}")
                return []
            if b"*" in raw:  # without an alias nothing is larger or deeper than it was written
                _measure(root, {})
            roots.append(root)
            if len(roots) > _DOCUMENTS:
                raise TooMuch(f"more than {_DOCUMENTS} documents in one file", root.start_mark)
        if not roots:
            complaints.add(Place(source), "is empty; expected at least 'services:' with one service")
        return roots
    except TooMuch as error:
        mark = error.mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        complaints.add(place, f"refused: {error}")
    except yaml.MarkedYAMLError as error:
        complaints.add(*_syntax(raw, source, error))
    except yaml.YAMLError as error:
        complaints.add(Place(source), f"is not YAML: {error}")
    finally:
        composer.dispose()
    return []


def _count(raw: bytes) -> None:
    """Refuse too many values before any is made: libyaml counts them alone, twenty times as fast as nodes are made."""
    if len(raw) <= MOST:  # hardly a value is of less than one letter
        return
    parser = yaml.CSafeLoader(raw)
    try:
        if parser.raw_parse() > MOST:
            raise TooMuch(f"more than {MOST} values in one file")
    finally:
        parser.dispose()


def _syntax(raw: bytes, source: Source, error: yaml.MarkedYAMLError) -> tuple[Place, str]:
    from orchestrator.stack.syntax import diagnose  # only where something is wrong

    line, column, sentence = diagnose(raw.decode("utf-8-sig"), source.lines, error)
    return Place(source) if line < 0 else Place(source, line + 1, column + 1), sentence


def _measure(node: Any, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """(values, levels) of the node with every alias followed; each node is looked at once, often named or not."""
    if isinstance(node, yaml.ScalarNode):
        return 1, 1
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise TooMuch("an anchor contains itself", node.start_mark)
        return size
    known[id(node)] = None
    values, levels = 1, 0
    children = [n for pair in node.value for n in pair] if isinstance(node, yaml.MappingNode) else node.value
    for child in children:
        more, deeper = _measure(child, known)
        values, levels = values + more, max(levels, deeper)
    if values > MOST:
        raise TooMuch(f"its aliases stand for more than {MOST} values", node.start_mark)
    if levels >= DEEPEST:
        raise TooMuch(f"nested deeper than {DEEPEST} levels once its aliases are followed", node.start_mark)
    known[id(node)] = values, levels + 1
    return values, levels + 1


def at(source: Source, node: Any) -> Place:
    return Place(source, node.start_mark.line + 1, node.start_mark.column + 1)
