"""The language as a reference: one entry a key, made of the schema and of what is obeyed. For `pyorch explain` and
docs/compose.md.

A key's path is written as in `obeyed`: `*` stands for any name, `[]` for an element of a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.stack.fitting import stands_for_another
from orchestrator.stack.obeyed import ALLOWED, REFUSED, WITHOUT_EFFECT
from orchestrator.stack.schema import written
from orchestrator.stack.since import FRAMES, SINCE

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}
_FORMS = {  # definitions that have a name of their own
    "list_or_map": "a map, or a list of NAME=VALUE",
    "environment": "a map, or a list of NAME=VALUE",
    "hosts": "a list of NAME=ADDRESS, or a map",
    "duration": "a duration (1m30s, 500ms)",
    "size": "a size (512M, 1.5g, bytes)",
    "size_text": "a size (512M, 1.5g)",
    "cpus": "a number of cpus (0.5, 2, 250m)",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether pyorch obeys a key. `since`: a version; `only`: the values that are obeyed (None: all of them);
    `why`: the way out of a refusal, or why nothing has to be done. `row`: the key whose row says so."""

    kind: Literal["obeyed", "partly", "without effect", "refused"]
    row: str
    since: str | None = None
    only: tuple[object, ...] | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    path: str
    description: str
    forms: tuple[str, ...]
    standing: Standing
    default: Any = None
    examples: tuple[Any, ...] = ()
    required: bool = False
    deprecated: bool = False

    @property
    def plain(self) -> str:
        """The path without names: services.healthcheck.interval."""
        return ".".join(steps(self.path))


def steps(path: str) -> list[str]:
    """The keys of a path, without names and elements."""
    return [step for step in path.replace("[]", "").split(".") if step != "*"]


def standing(path: str) -> Standing:
    """By the nearest row: the key's own, else that of the key it stands below. LookupError: no table knows the key."""
    if path in FRAMES:
        return Standing("obeyed", path, FRAMES[path])
    here = path
    while here:
        if here in WITHOUT_EFFECT:
            return Standing("without effect", here, why=WITHOUT_EFFECT[here])
        if here in REFUSED:
            return Standing("refused", here, why=REFUSED[here])
        if here in ALLOWED:
            return Standing("partly", here, _since(here), ALLOWED[here]) if ALLOWED[here] else Standing("refused", here)
        if here in SINCE:
            return Standing("obeyed", here, SINCE[here])
        here = here[: max(here.rfind("."), here.rfind("["), 0)]
    raise LookupError(f"{path} has no row in orchestrator/stack/obeyed.py or since.py")


def find(key: str, known: dict[str, Entry]) -> list[Entry]:
    """The entries that `key` may mean: a path with names ("services.web.ports[0]"), without them ("services.ports"), or
    only its end ("start_interval"). Empty: none."""
    key = re.sub(r"\[\d*\]", "[]", key.strip("."))
    if key in known:
        return [known[key]]
    words = key.replace("[]", "").split(".")
    for fits in (_is_plain, _is_named, _is_end):
        if found := [entry for entry in known.values() if fits(entry, words)]:
            return found
    return []


def _is_plain(entry: Entry, words: list[str]) -> bool:
    return steps(entry.path) == words and not entry.path.endswith("*")


def _is_named(entry: Entry, words: list[str]) -> bool:
    pattern = entry.path.replace("[]", "").split(".")
    return len(pattern) == len(words) and all(map(lambda step, word: step in ("*", word), pattern, words))


def _is_end(entry: Entry, words: list[str]) -> bool:
    return steps(entry.path)[-len(words) :] == words and not entry.path.endswith("*")


def below(path: str, known: dict[str, Entry]) -> list[Entry]:
    """The keys directly below, in order."""
    depth = len(steps(path)) + 1
    inside = (entry for entry in known.values() if entry.path.startswith((path + ".", path + "[")))
    return [entry for entry in inside if len(steps(entry.path)) == depth and not entry.path.endswith("*")]


def sentence(it: Standing) -> str:
    """What there is to say of a key's standing, in one line."""
    since = f" since {it.since}" if it.since else ""
    match it.kind:
        case "obeyed":
            return f"obeyed{since}"
        case "partly":
            only = ", ".join(
                "true" if value is True else "false" if value is False else str(value) for value in it.only or ()
            )
            return f"only {only}{since}"
        case "without effect":
            return f"accepted, nothing to do: {it.why}"
        case _:
            return f"not obeyed yet: `up` refuses it; {it.why}" if it.why else "not obeyed yet: `up` refuses it"


def _since(path: str) -> str | None:
    while path:
        if path in SINCE:
            return SINCE[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return None


def entries() -> dict[str, Entry]:
    """Every key of the language, in the order of the schema, a key before those below it."""
    schema = written()
    return {entry.path: entry for entry in _below(schema, schema, "")}


def _below(root: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[Entry]:
    seen: set[str] = set()
    for branch in _branches(root, schema):
        required = branch.get("required", ())
        for key, value in branch.get("properties", {}).items():
            here = f"{path}.{key}" if path else key
            if here not in seen:
                seen.add(here)
                yield _entry(root, value, here, key in required)
                yield from _below(root, value, here)
        rest = branch.get("additionalProperties")
        if isinstance(rest, dict) and _has_keys(root, rest):
            if described(root, rest):
                yield _entry(root, rest, f"{path}.*", False)
            yield from _below(root, rest, f"{path}.*")
        if isinstance(branch.get("items"), dict):
            yield from _below(root, branch["items"], f"{path}[]")


def _has_keys(root: dict[str, Any], schema: dict[str, Any]) -> bool:
    return any("properties" in branch for branch in _branches(root, schema))


def _entry(root: dict[str, Any], schema: dict[str, Any], path: str, required: bool) -> Entry:
    return Entry(
        path,
        described(root, schema),
        tuple(dict.fromkeys(_forms(root, schema))),
        standing(path),
        schema.get("default"),
        tuple(schema.get("examples", ())),
        required,
        bool(schema.get("deprecated")),
    )


def described(root: dict[str, Any], schema: dict[str, Any]) -> str:
    text = schema.get("description") or _target(root, schema).get("description", "")
    return str(text)


def _forms(root: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    name = schema.get("$ref", "").rpartition("/")[2]
    if name in _FORMS:
        yield _FORMS[name]
    elif name:
        yield from _forms(root, _target(root, schema))
    elif "oneOf" in schema:
        for form in schema["oneOf"]:
            if not stands_for_another(form):
                yield from _forms(root, form)
    elif "enum" in schema:
        yield " | ".join(map(str, schema["enum"]))
    elif "x-expected" in schema:
        yield schema["x-expected"]
    else:
        kinds = schema.get("type", ())
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            yield _kind(root, schema, kind)


def _kind(root: dict[str, Any], schema: dict[str, Any], kind: str) -> str:
    if kind == "array":
        inner = " or ".join(dict.fromkeys(_forms(root, schema["items"]))) if "items" in schema else "anything"
        return "a list of texts" if inner == "text" else f"a list; each: {inner}"
    if kind == "object":
        rest = schema.get("additionalProperties")
        if isinstance(rest, dict):
            inner = " or ".join(form for form in dict.fromkeys(_forms(root, rest)) if form != "nothing")
            return f"a map by name; each: {inner}"
        return "a map with the keys below" if schema.get("properties") else "a map"
    return _TYPES[kind]


def _branches(root: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    schema = {**schema, **_target(root, schema)} if "$ref" in schema else schema
    for branch in schema.get("oneOf", (schema,)):
        if branch is schema:
            yield schema
        else:
            yield from _branches(root, branch)


def _target(root: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    target: dict[str, Any] = root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
    return target
