"""YAML nodes → maps and lists with marks: merge keys, duplicate keys, tags. Variables are not filled in yet."""

from __future__ import annotations

from typing import Any

import yaml

from orchestrator.record import fresh, record
from orchestrator.stack.places import Complaints, Path, Source, dotted, quoted
from orchestrator.stack.scalars import CONSTANTS, NUMERIC, Date, typed
from orchestrator.stack.text import at
from orchestrator.stack.tree import List, Map, Places

_CORE = "tag:yaml.org,2002:"
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}


@record
class Document:
    """One document of a file. `resets`: the paths tagged !reset or !override, whose old values go before the merge."""

    source: Source
    data: Map = fresh(default_factory=Map)
    root: Any = None
    resets: list[Path] = fresh(default_factory=list)

    @property
    def marks(self) -> Places:
        return Places(self.data, self.root)


def read(source: Source, root: yaml.MappingNode, complaints: Complaints) -> Document:
    """The values of a composed document. Mistakes go to `complaints`; reading goes on past them."""
    document = Document(source, root=(source, root, root))
    document.data = _Reader(document, complaints).mapping(root, ())
    return document


def scalar_of(root: yaml.MappingNode, key: str) -> yaml.ScalarNode | None:
    """The node of a top-level scalar, before any interpolation."""
    for key_node, value_node in root.value:
        if key_node.value == key and isinstance(value_node, yaml.ScalarNode) and value_node.value:
            return value_node
    return None


@record
class _Reader:
    document: Document
    complaints: Complaints

    def value(self, node: Any, path: Path) -> Any:
        tag = node.tag
        if isinstance(node, yaml.ScalarNode):
            if tag == "quoted":
                return node.value
            return self._plain(node, path) if tag == "plain" else self._tagged(node, tag, node.value, path)
        if tag == "!override":
            self.document.resets.append(path)
        elif tag != "collection" and tag not in (_CORE + "map", _CORE + "seq"):
            self._unknown_tag(node, tag, path)
        return self.mapping(node, path) if isinstance(node, yaml.MappingNode) else self.sequence(node, path)

    def _plain(self, node: Any, path: Path) -> Any:
        value = typed(node.value)
        if isinstance(value, Date):
            if any(str(step).startswith("x-") for step in path):
                return value
            self._complain(node, path, f'is a date in YAML: write "{node.value}" in quotes')
            return node.value
        return value

    def mapping(self, node: yaml.MappingNode, path: Path) -> Map:
        data = Map()
        marks, source = data.marks, self.document.source
        for key, key_node, value_node in self._pairs(node, path):
            child = (*path, key)
            if value_node.tag == "!reset":
                self.document.resets.append(child)
                continue
            marks[key] = (source, key_node, value_node)
            data[key] = self.value(value_node, child)
        return data

    def sequence(self, node: yaml.SequenceNode, path: Path) -> List:
        data, source = List(), self.document.source
        for index, item in enumerate(node.value):
            if item.tag == "!reset":
                continue
            data.add(self.value(item, (*path, index)), (source, item, item))
        return data

    def _pairs(self, node: yaml.MappingNode, path: Path) -> list[tuple[str, Any, Any]]:
        """Own keys first, each once; then those of `<<` that are not there yet, the first merged map winning."""
        pairs: dict[str, tuple[str, Any, Any]] = {}
        merges: list[Any] = []
        for key_node, value_node in node.value:
            if key_node.value == "<<" and key_node.tag == "plain":
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
        suspect = text[:1] in NUMERIC or text in CONSTANTS
        if suspect and node.tag == "plain" and typed(text) is not text:
            self._complain(node, path, f'a key must be text: write "{text or "~"}" in quotes')
        return text

    def _tagged(self, node: Any, tag: str, text: str, path: Path) -> Any:
        """A scalar with a tag written out, such as `!!str 5` or `!override x`."""
        if tag == "!override":
            self.document.resets.append(path)
            return text
        if tag == _CORE + "str":
            return text
        value = typed(text)
        wanted = _KINDS.get(tag.removeprefix(_CORE)) if tag.startswith(_CORE) else None
        if wanted is None:
            self._unknown_tag(node, tag, path)
        elif not isinstance(value, wanted):
            self._complain(node, path, f"expected {tag.removeprefix(_CORE)} after its tag, but found {quoted(text)}")
        return value

    def _unknown_tag(self, node: Any, tag: str, path: Path) -> None:
        self.complaints.broken.add(path)
        shown = "!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag
        self._complain(node, path, f"unknown tag {shown}; remove it")

    def _complain(self, node: Any, path: Path, text: str) -> None:
        self.complaints.add(at(self.document.source, node), f"{dotted(path)}: {text}" if path else text)
