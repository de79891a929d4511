"""YAML text → plain values with the place of each: libyaml's composer, and our own reading of its nodes.

Scalars are read as Compose reads them (YAML 1.2 core, plus 017 as octal and 1_000): `22:22`, `on`, `2024-01-01` stay
text. Duplicate keys and unknown tags are mistakes. What could be made to explode is counted before it is expanded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestrator.stack.interpolation import Malformed, interpolate
from orchestrator.stack.places import Complaints, Marks, Path, Place, Source, dotted, quoted

LARGEST = 8 << 20  # bytes of one file
DEEPEST = 100  # levels of nesting, aliases followed
MOST = 100_000  # values as written; of them as many again may come from aliases

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_INT = re.compile(r"([-+]?)(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS: dict[str, object] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_NUMERIC = frozenset("0123456789+-.")
_CORE = "tag:yaml.org,2002:"
_LOOSE = frozenset("yes Yes YES no No NO on On ON off Off OFF y Y n N true True TRUE false False FALSE".split())  # noqa: SIM905


class TooMuch(Exception):
    """The text is larger or deeper than any stack file; `mark` says where it became so."""

    def __init__(self, text: str, mark: Any = None) -> None:
        super().__init__(text)
        self.mark = mark


class _Composer(yaml.CSafeLoader):
    """libyaml's composer. It asks `resolve` for the tag of each node without one, and calls descend/ascend around each
    child: the place to count before libyaml's and our own recursion go too deep. Typing waits until interpolation."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self.depth = self.count = 0

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        return ("plain" if implicit[0] else "quoted") if kind is yaml.ScalarNode else "collection"

    def descend_resolver(self, parent: Any, index: Any) -> None:
        self.depth += 1
        self.count += 1
        if self.depth > DEEPEST:
            raise TooMuch(f"nested deeper than {DEEPEST} levels", parent.start_mark)
        if self.count > MOST:
            raise TooMuch(f"more than {MOST} values in one file", parent.start_mark)

    def ascend_resolver(self) -> None:
        self.depth -= 1


@dataclass(slots=True)
class Document:
    """One file: its values, where they stand, and the texts that may have been meant as a number or truth value."""

    source: Source
    data: dict[str, Any] = field(default_factory=dict)
    marks: Marks = field(default_factory=dict)
    loose: list[tuple[Any, Path]] = field(default_factory=list)  # (the map or list it is in, its path)


def compose(raw: bytes, shown: str, path: str, complaints: Complaints) -> tuple[Source, yaml.MappingNode | None]:
    """The file's node tree, checked to be of sane size; None where it has none (a complaint says why)."""
    source = Source(path, shown)
    whole = Place(source)
    if len(raw) > LARGEST:
        complaints.add(whole, f"is {len(raw) >> 20} MiB large; a stack file may have {LARGEST >> 20} MiB")
        return source, None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = len(raw[raw.rfind(b"\n", 0, error.start) + 1 : error.start].decode()) + 1
        source = Source(path, shown, _lines(raw.decode("utf-8", "replace")))
        complaints.add(
            Place(source, line, column), f"is not UTF-8 text: byte 0x{raw[error.start]:02x}; save it as UTF-8"
        )
        return source, None
    source = Source(path, shown, _lines(text))
    if bad := _CONTROL.search(text):
        before = _lines(text[: bad.start()])
        line, column = len(before), len(before[-1]) + 1
        complaints.add(Place(source, line, column), f"control character U+{ord(bad[0]):04X} is not allowed in YAML")
        return source, None
    return source, _root(raw, source, complaints)


def _lines(text: str) -> tuple[str, ...]:
    """As YAML counts lines (str.splitlines also breaks at form feeds and the like)."""
    return tuple(re.split("\r\n|[\n\r\x85\u2028\u2029]", text))


def _root(raw: bytes, source: Source, complaints: Complaints) -> yaml.MappingNode | None:
    composer = _Composer(raw)
    try:
        root = composer.get_single_node()
        if root is None or (isinstance(root, yaml.ScalarNode) and not root.value and root.tag == "plain"):
            complaints.add(Place(source), "is empty; expected at least 'services:' with one service")
        elif not isinstance(root, yaml.MappingNode):
            complaints.add(_at(source, root), "expected a map with 'services:' at the top level")
        else:
            if b"*" in raw:  # without an alias nothing is larger or deeper than it was written
                _measure(root, {})
            return root
    except TooMuch as error:
        mark = error.mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        complaints.add(place, f"refused: {error}")
    except yaml.MarkedYAMLError as error:
        ended = "unexpected end" in str(error.problem) and error.context_mark  # show what was opened, not the end
        mark = ended or error.problem_mark or error.context_mark
        complaints.add(Place(source, mark.line + 1, mark.column + 1) if mark else Place(source), _syntax(error, source))
    except yaml.YAMLError as error:
        complaints.add(Place(source), f"is not YAML: {error}")
    finally:
        composer.dispose()
    return None


def _syntax(error: yaml.MarkedYAMLError, source: Source) -> str:
    problem, mark = str(error.problem), error.problem_mark
    line = source.lines[mark.line] if mark and mark.line < len(source.lines) else ""
    if "found undefined alias" in problem:
        return f"is not YAML: {problem}; no anchor of that name stands above"
    if "expected a single document" in str(error.context) or "another document" in problem:
        return "a second document begins here ('---'); a stack file is one document"
    if "cannot start any token" in problem and line.lstrip(" ").startswith("\t"):
        return f"is not YAML: {problem}; indent with spaces, not tabs"
    return f"is not YAML: {problem}" + (f" ({error.context})" if error.context else "")


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
    if values > 2 * MOST:
        raise TooMuch(f"its aliases stand for more than {2 * MOST} values", node.start_mark)
    if levels >= DEEPEST:
        raise TooMuch(f"nested deeper than {DEEPEST} levels once its aliases are followed", node.start_mark)
    known[id(node)] = values, levels + 1
    return values, levels + 1


def read(source: Source, root: yaml.MappingNode, variables: Mapping[str, str], complaints: Complaints) -> Document:
    """The values of a composed file, variables filled in. Mistakes go to `complaints`; reading goes on past them."""
    reader = _Reader(Document(source), variables, complaints)
    reader.document.marks[()] = (source, root, root)
    reader.document.data = reader.mapping(root, ())
    return reader.document


def scalar_of(root: yaml.MappingNode, key: str) -> yaml.ScalarNode | None:
    """The node of a top-level scalar, before any interpolation."""
    for key_node, value_node in root.value:
        if key_node.value == key and isinstance(value_node, yaml.ScalarNode) and value_node.value:
            return value_node
    return None


@dataclass(slots=True)
class _Reader:
    document: Document
    variables: Mapping[str, str]
    complaints: Complaints
    grown: int = 0  # characters that variables have added

    def value(self, node: Any, path: Path, inside: Any) -> Any:
        tag = node.tag
        if isinstance(node, yaml.ScalarNode):
            text = node.value
            if "$" in text:
                text = self._filled(text, node, path)
                self.document.loose.append((inside, path))
                return text
            if tag == "plain":
                value = typed(text)
                if value is text and text in _LOOSE:
                    self.document.loose.append((inside, path))
                return value
            if tag == "quoted":
                if text[:1] in _NUMERIC or text in _LOOSE:
                    self.document.loose.append((inside, path))
                return text
            return self._tagged(node, tag, text, path)
        if tag != "collection" and tag not in (_CORE + "map", _CORE + "seq"):
            self._unknown_tag(node, tag, path)
        return self.mapping(node, path) if isinstance(node, yaml.MappingNode) else self.sequence(node, path)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        marks, source = self.document.marks, self.document.source
        for key, key_node, value_node in self._pairs(node, path):
            child = (*path, key)
            marks[child] = (source, key_node, value_node)
            data[key] = self.value(value_node, child, data)
        return data

    def sequence(self, node: yaml.SequenceNode, path: Path) -> list[Any]:
        data: list[Any] = []
        marks, source = self.document.marks, self.document.source
        for index, item in enumerate(node.value):
            child = (*path, index)
            marks[child] = (source, item, item)
            data.append(self.value(item, child, data))
        return data

    def _pairs(self, node: yaml.MappingNode, path: Path) -> list[tuple[str, Any, Any]]:
        """Own keys first, each once; then those of `<<` that are not there yet, the first merged map winning."""
        pairs: dict[str, tuple[str, Any, Any]] = {}
        merges: list[Any] = []
        for key_node, value_node in node.value:
            if key_node.tag == "plain" and key_node.value == "<<":
                merges += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            key = self._key(key_node, path)
            if key in pairs:
                first = pairs[key][1].start_mark.line + 1
                self._complain(key_node, (*path, key), f"duplicate key '{key}': it stands on line {first} already")
            else:
                pairs[key] = (key, key_node, value_node)
        for merged in merges:
            if not isinstance(merged, yaml.MappingNode):
                self._complain(merged, path, "'<<' takes a map, or a list of maps (an alias such as *defaults)")
                continue
            for pair in self._pairs(merged, path):
                pairs.setdefault(pair[0], pair)
        return list(pairs.values())

    def _key(self, node: Any, path: Path) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._complain(node, path, "a key must be text, not a list or a map")
            return "?"
        text: str = node.value
        suspect = text[:1] in _NUMERIC or text in _CONSTANTS
        if suspect and node.tag == "plain" and not isinstance(typed(text), str):
            self._complain(node, path, f'a key must be text: write "{text or "~"}" in quotes')
        return text

    def _filled(self, text: str, node: Any, path: Path) -> str:
        try:
            filled = interpolate(text, self.variables, lambda name: self._unset(node, path, name))
            self.grown += max(len(filled) - len(text), 0)
            if self.grown > LARGEST:
                raise Malformed(f"filling in variables makes the file grow by more than {LARGEST >> 20} MiB")
            return filled
        except Malformed as error:
            self._complain(node, path, str(error))
            self.complaints.broken.add(path)
            return ""

    def _unset(self, node: Any, path: Path, name: str) -> None:
        shown = f"{self.document.source.shown}:{node.start_mark.line + 1}"
        self.complaints.warnings[f"{shown}: {dotted(path)}: variable {name} is not set: taken as empty"] = None

    def _tagged(self, node: Any, tag: str, text: str, path: Path) -> Any:
        """A scalar with a core tag written out, such as `!!str 5`."""
        if tag == _CORE + "str":
            return text
        value = typed(text)
        kinds: dict[str, tuple[type, ...]] = {
            "int": (int,),
            "float": (float, int),
            "bool": (bool,),
            "null": (type(None),),
        }
        wanted = kinds.get(tag.removeprefix(_CORE)) if tag.startswith(_CORE) else None
        if wanted is None:
            self._unknown_tag(node, tag, path)
        elif not isinstance(value, wanted):
            self._complain(node, path, f"expected {tag.removeprefix(_CORE)} after its tag, but found {quoted(text)}")
        return value

    def _unknown_tag(self, node: Any, tag: str, path: Path) -> None:
        self.complaints.broken.add(path)
        shown = "!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag
        if tag in ("!reset", "!override"):
            self._complain(
                node,
                path,
                f"tag {tag}: is part of the Compose Specification but pyorch does not obey it yet; remove it",
            )
        else:
            self._complain(node, path, f"unknown tag {shown}; remove it")

    def _complain(self, node: Any, path: Path, text: str) -> None:
        self.complaints.add(_at(self.document.source, node), f"{dotted(path)}: {text}" if path else text)


def typed(text: str) -> Any:
    """A plain scalar's value by YAML 1.2 core, 0-prefixed octal and underscores; the same object where it is text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMERIC or len(text) > 40:
        return text
    if found := _INT.fullmatch(text):
        digits = found[2].replace("_", "")
        base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 8 if digits[0] == "0" and digits != "0" else 10)
        number = int(digits[2:] if digits[:2] in ("0b", "0o", "0x") else digits, base)
        number = -number if found[1] == "-" else number
        return number if -(2**63) <= number < 2**64 else float(number)
    if _FLOAT.fullmatch(text):
        real = float(text.replace("_", ""))
        return real if math.isfinite(real) else text
    return text


def _at(source: Source, node: Any) -> Place:
    return Place(source, node.start_mark.line + 1, node.start_mark.column + 1)
