"""The shape of a stack file: the schema, the fast yes or no, and texts that were meant as numbers or truth values."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from orchestrator.stack.places import Complaints, Path, quoted
from orchestrator.stack.text import Document, typed

_YAML_1_1 = dict.fromkeys(("yes", "on", "y"), True) | dict.fromkeys(("no", "off", "n"), False)


def _load() -> dict[str, Any]:
    """The schema beside this file (installed) or in schemas/ (a working copy)."""
    here = os.path.dirname(os.path.abspath(__file__))
    for place in (here, os.path.join(here, "..", "..", "schemas")):
        path = os.path.join(place, "stack.schema.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                schema: dict[str, Any] = json.load(file)
                return schema
    raise FileNotFoundError(f"stack.schema.json is neither in {here} nor in schemas/: the installation is incomplete")


SCHEMA = _load()
_VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)


def fits(data: dict[str, Any]) -> bool:
    """Whether the shape is right; under a millisecond for a hundred services. `explain` says what is wrong."""
    return bool(_VALIDATOR.is_valid(data))


def settle(document: Document, complaints: Complaints) -> None:
    """Give texts from variables or quotes, and yes/no/on/off, the type that the schema wants at their place."""
    known: dict[Path, set[str]] = {}  # names of services and the like do not matter to the schema: one look for all
    for inside, path in document.loose:
        value, place = inside[path[-1]], path[:1] + path[2:]
        if place not in known:
            known[place] = set(_kinds(path))
        kinds = known[place]
        if not isinstance(value, str) or not kinds or "string" in kinds:
            continue
        meant = typed(value)
        if "boolean" in kinds and value.lower() in _YAML_1_1:
            meant = _YAML_1_1[value.lower()]
            complaints.warn(document.marks, path, f"{quoted(value)} is taken as {quoted(meant)}; write {quoted(meant)}")
        if isinstance(meant, bool) if "boolean" in kinds else isinstance(meant, (int, float)):
            inside[path[-1]] = meant


def _kinds(path: Path) -> Iterator[str]:
    """The JSON types that a value at `path` may have; none where the schema says nothing."""
    schemas = [SCHEMA]
    for step in path:
        schemas = [below for schema in schemas for branch in branches(schema) for below in _below(branch, step)]
    for schema in schemas:
        for branch in branches(schema):
            kind = branch.get("type", "string" if "enum" in branch else [])
            yield from [kind] if isinstance(kind, str) else kind


def branches(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema with its references followed and its alternatives laid out."""
    if reference := schema.get("$ref"):
        yield from branches(SCHEMA["$defs"][reference.rpartition("/")[2]])
    elif "oneOf" in schema:
        for branch in schema["oneOf"]:
            yield from branches(branch)
    else:
        yield schema


def _below(schema: dict[str, Any], step: str | int) -> Iterator[dict[str, Any]]:
    below = schema.get("items") if isinstance(step, int) else schema.get("properties", {}).get(step)
    if below is None and isinstance(step, str):
        below = schema.get("additionalProperties")
    if isinstance(below, dict):
        yield below
