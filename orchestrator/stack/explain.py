"""What is wrong with the shape of a file, in sentences. Only imported where something is wrong: jsonschema is heavy."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator

from orchestrator.stack.parse import Document
from orchestrator.stack.places import MOST, Complaints, Path, did_you_mean, nearest, quoted
from orchestrator.stack.schema import branches, filled

_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
}


def explain(document: Document, complaints: Complaints) -> None:
    """Complain about everything the schema refuses, and take it out of the data, so that the rest can be read on.

    Of a list the whole element is taken out: half a port or half a mount means nothing.
    """
    earlier = complaints.broken
    complaints.broken = earlier - complaints.taken  # what an earlier file broke is not there any more
    for error in _known_first(Draft202012Validator(filled()).iter_errors(document.data)):
        _say(error, document, complaints)
    for path in sorted(complaints.broken, key=len, reverse=True):
        element = next((at for at, step in enumerate(path) if isinstance(step, int)), len(path))
        _take_out(document.data, path[: element + 1])
    complaints.taken |= complaints.broken
    complaints.broken |= earlier


def _known_first(errors: Iterable[Any]) -> list[Any]:
    """What is missing comes last: a mistyped key accounts for it."""
    some = itertools.islice(errors, 5 * MOST)  # of more than MOST the rest is not shown, and each takes its time
    return sorted(some, key=lambda error: error.validator == "required")


def _say(error: Any, document: Document, complaints: Complaints) -> None:
    path: Path = tuple(error.absolute_path)
    rule, value, schema = error.validator, error.instance, error.schema
    if path in complaints.broken:
        return
    if "propertyNames" in error.absolute_schema_path:
        _refuse(document, complaints, (*path, value), f"{quoted(value)} is not {schema['x-expected']}", key=True)
    elif rule == "additionalProperties":
        known = [*schema.get("properties", {})]
        for key in value:
            if key not in known and not key.startswith("x-"):
                hint = _misplaced(key, len(path)) or did_you_mean(key, known)
                _refuse(document, complaints, (*path, key), f"unknown key {quoted(key)}{hint}", key=True)
                if (meant := nearest(key, known)) and meant not in value:
                    complaints.broken.add((*path, meant))  # so that nobody complains that it is missing
    elif rule == "oneOf":
        _say_branch(error, document, complaints)
    elif "prefixItems" in error.relative_schema_path or "prefixItems" in error.absolute_schema_path:
        _refuse(document, complaints, path, _sentence(error))
        complaints.broken.add(path[:-1])  # a list with a wrong beginning means nothing
    elif rule == "uniqueItems":
        seen: set[str] = set()
        for index, item in enumerate(value):
            before = len(seen)
            seen.add(repr(item))
            if len(seen) == before:
                _refuse(document, complaints, (*path, index), f"{quoted(item)} stands in this list twice")
    elif rule == "required":
        missing = [key for key in schema["required"] if key not in value]
        for key in missing if not {(*path, key) for key in missing} & complaints.broken else ():
            _refuse(document, complaints, path, f"'{key}' is missing")
    else:
        _refuse(document, complaints, path, _sentence(error))


def _say_branch(error: Any, document: Document, complaints: Complaints) -> None:
    """Of several forms, the one that was meant is the one of the right type: speak about that one only."""
    forms: dict[int, list[Any]] = {}
    for inner in error.context or ():
        forms.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
    meant = [form for form in forms.values() if not any(_is_another_kind(e) for e in form)]
    nested = [e for form in forms.values() for e in form if e.validator == "oneOf" and not e.relative_path]
    if meant:
        for inner in _known_first(meant[0]):
            _say(inner, document, complaints)
    elif nested and any(_right_type(branch, error.instance) for e in nested for branch in branches(e.schema)):
        for inner in nested:
            _say_branch(inner, document, complaints)
    else:
        _refuse(document, complaints, tuple(error.absolute_path), _expected(branches(error.schema), error.instance))


def _is_another_kind(error: Any) -> bool:
    """Whether it says of the value as a whole that it is of another kind: a choice of texts wants a text."""
    choice = error.validator == "enum" and not isinstance(error.instance, str)
    return not error.relative_path and (choice or error.validator in ("type", "oneOf"))


def _right_type(schema: dict[str, Any], value: Any) -> bool:
    return Draft202012Validator({"type": schema["type"]}).is_valid(value) if "type" in schema else True


def _sentence(error: Any) -> str:
    value, schema, limit = error.instance, error.schema, error.validator_value
    match error.validator:
        case "type":
            return _expected([schema], value)
        case "enum":
            choice = " or ".join(filter(None, [", ".join(map(str, limit[:-1])), str(limit[-1])]))
            return f"expected {choice}, but found {found(value)}{did_you_mean(str(value), map(str, limit))}"
        case "pattern":
            return (
                f"expected {schema.get('x-expected', 'another form')}, but found {found(value)}{_unit(schema, value)}"
            )
        case "minimum":
            return f"must be at least {limit}, but is {value}"
        case _:
            return f"does not fit: {error.message}"


def _expected(expected: Iterable[dict[str, Any]], value: Any) -> str:
    forms = [*expected]
    kinds: dict[str, None] = {}
    for form in forms:
        if "x-expected" in form:
            kinds[form["x-expected"]] = None
            continue
        kind = form.get("type", [])
        kinds |= dict.fromkeys([kind] if isinstance(kind, str) else kind)
        kinds |= dict.fromkeys([" or ".join(map(repr, form.get("enum", ())))] if "enum" in form else [])
    names = list(dict.fromkeys(_NAMES.get(kind, kind) for kind in kinds if kind != "null"))
    in_quotes = "string" in kinds or any("pattern" in form for form in forms)
    hint = "; write it in quotes" if in_quotes and isinstance(value, int | float) else ""
    hint = next(filter(None, (_unit(form, value) for form in forms)), hint)
    return f"expected {' or '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}, but found {found(value)}{hint}"


def _unit(schema: dict[str, Any], value: Any) -> str:
    """A number without a unit where a duration is wanted: the usual slip."""
    bare = isinstance(value, int | float) or (isinstance(value, str) and value.replace(".", "", 1).isdecimal())
    return f"; did you mean '{value}s'?" if bare and "duration" in schema.get("x-expected", "") else ""


def found(value: Any) -> str:
    """A value as a sentence names it: what kind it is where it is large, itself where it is small."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a map"
        case list():
            return "a list"
        case _:
            return quoted(value)


def _misplaced(key: str, depth: int) -> str:
    """Where an unknown key would have been right: the usual slip of indentation."""
    if depth == 2 and key in filled()["properties"]:
        return f"; '{key}' belongs to the top level"
    in_service = key in filled()["$defs"]["service"]["properties"]
    return f"; '{key}' belongs into a service" if depth != 2 and in_service else ""


def _refuse(document: Document, complaints: Complaints, path: Path, text: str, *, key: bool = False) -> None:
    complaints.about(document.marks, path, text, key=key)
    complaints.broken.add(path)


def _take_out(data: Any, path: Path) -> None:
    """Remove the value; an element of a list becomes None, so that the others keep their places."""
    for step in path[:-1]:
        if not isinstance(data, dict) or step not in data:
            return  # taken out already with something above it
        data = data[step]
    if path and isinstance(data, dict):
        data.pop(path[-1], None)
    elif path and isinstance(data, list) and isinstance(path[-1], int):
        data[path[-1]] = None
