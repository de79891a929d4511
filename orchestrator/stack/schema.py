"""The shape of a stack file: the schema, and the fast yes or no.

`schemas/stack.schema.json` is the one description of the language. Editors use it as it is. What is checked here is
made of it: without the words for readers, and without the texts that stand for a number or a truth value (`x-means`:
an editor must let "${PORT}" pass; here variables are filled in and `filling.cast` has made such texts what they mean).
"""

from __future__ import annotations

import json
import os
from functools import cache

from orchestrator.stack.fitting import VARIABLE, Fitting, stands_for_another

TYPE_CHECKING = False  # typing itself costs 3 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_FOR_READERS = frozenset(("description", "examples", "default", "deprecated", "title", "$id", "$schema"))


@cache
def written() -> dict[str, Any]:
    """The schema as it is written, descriptions and all: beside this file (installed) or in schemas/ (a checkout)."""
    here = os.path.dirname(os.path.abspath(__file__))
    for place in (here, os.path.join(here, "..", "..", "schemas")):
        path = os.path.join(place, "stack.schema.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                schema: dict[str, Any] = json.load(file)
                return schema
    raise FileNotFoundError(f"stack.schema.json is neither in {here} nor in schemas/: the installation is incomplete")


def _bare(schema: Any) -> Any:
    """What has to hold of values with their variables filled in."""
    if not isinstance(schema, dict):
        return schema
    bare: dict[str, Any] = {}
    for word, value in schema.items():
        if word == "oneOf":
            forms = [_bare(form) for form in value if not stands_for_another(form)]
            bare |= {"oneOf": forms} if len(forms) > 1 else forms[0]
        elif word == "prefixItems":
            bare[word] = [_bare(item) for item in value]
        elif word in ("properties", "patternProperties", "$defs"):
            bare[word] = {key: _bare(below) for key, below in value.items()}
        elif word == "pattern":
            bare[word] = value.removesuffix(VARIABLE)
        elif word not in _FOR_READERS:
            bare[word] = _bare(value)
    return bare


@cache
def filled() -> dict[str, Any]:
    """The schema of data whose variables are filled in, as `jsonschema` takes it."""
    bare: dict[str, Any] = _bare(written())
    return bare


def fits(data: dict[str, Any], *, filled: bool = True) -> bool:
    """Whether the shape is right. `explain` says what is wrong.

    `filled` False: variables stand in the data as they were written.
    """
    return Fitting(written(), filled=filled).fits(data, written())


def branches(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema with its references followed and its alternatives laid out."""
    if reference := schema.get("$ref"):
        yield from branches(filled()["$defs"][reference.rpartition("/")[2]])
    elif "oneOf" in schema:
        for branch in schema["oneOf"]:
            yield from branches(branch)
    else:
        yield schema
