"""Whether a value fits a JSON Schema (2020-12), yes or no, for the words that stack.schema.json uses.

Every command that reads a stack asks this once, and a validator's import alone would take as long as the rest of its
work. What does not fit is looked at by `jsonschema` (`explain`), and a test holds the two together.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False  # typing itself costs 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


class Fitting:
    """`$ref`s are looked up in the schema's `$defs`. `filled`: no variables stand in the values any more, and forms
    that only stand for a value to come (`stands_for_another`) do not count."""

    __slots__ = ("defs", "filled")

    def __init__(self, schema: Mapping[str, Any], *, filled: bool) -> None:
        self.defs = {f"#/$defs/{name}": part for name, part in schema["$defs"].items()}
        self.filled = filled

    def fits(self, value: Any, schema: Mapping[str, Any]) -> bool:
        for word, want in schema.items():
            rule = _RULES.get(word)
            if rule is not None and not rule(self, value, want, schema):
                return False
        return True

    def each(self, values: Iterable[Any], schema: Mapping[str, Any]) -> bool:
        return all(self.fits(value, schema) for value in values)


VARIABLE = r"|\$"  # the end of each pattern that texts may have: a variable may stand there


def stands_for_another(form: Mapping[str, Any]) -> bool:
    """Whether the form is a text that will be a number or a truth value once its variables are filled in."""
    return "x-means" in form or form.get("$ref") == "#/$defs/truth_text"


def _type(_: Fitting, value: Any, want: Any, __: Any) -> bool:
    kinds = _KINDS.get(type(value)) or next((k for c, k in _KINDS.items() if isinstance(value, c)), ())
    if type(value) is float and value.is_integer():
        kinds = ("number", "integer")
    return want in kinds if isinstance(want, str) else any(kind in kinds for kind in want)


_KINDS: dict[type, tuple[str, ...]] = {
    type(None): ("null",),
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    str: ("string",),
    dict: ("object",),
    list: ("array",),
}


def _ref(fitting: Fitting, value: Any, want: Any, _: Any) -> bool:
    return fitting.fits(value, fitting.defs[want])


def _properties(fitting: Fitting, value: Any, want: Any, _: Any) -> bool:
    if not isinstance(value, dict):
        return True
    return all(fitting.fits(inner, want[key]) for key, inner in value.items() if key in want)


def _patterned(fitting: Fitting, value: Any, want: Any, _: Any) -> bool:
    if not isinstance(value, dict):
        return True
    patterns = [(re.compile(pattern), schema) for pattern, schema in want.items()]
    return all(
        fitting.fits(inner, schema)
        for key, inner in value.items()
        for pattern, schema in patterns
        if pattern.search(key)
    )


def _additional(fitting: Fitting, value: Any, want: Any, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, dict) or want is True:
        return True
    known, patterns = schema.get("properties", ()), schema.get("patternProperties", ())
    others = [key for key in value if key not in known and not any(re.search(pattern, key) for pattern in patterns)]
    return not others if want is False else fitting.each((value[key] for key in others), want)


def _names(fitting: Fitting, value: Any, want: Any, _: Any) -> bool:
    return not isinstance(value, dict) or fitting.each(value, want)


def _required(_: Fitting, value: Any, want: Any, __: Any) -> bool:
    return not isinstance(value, dict) or all(key in value for key in want)


def _items(fitting: Fitting, value: Any, want: Any, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, list):
        return True
    return fitting.each(value[len(schema.get("prefixItems", ())) :], want)


def _prefix(fitting: Fitting, value: Any, want: Any, _: Any) -> bool:
    return not isinstance(value, list) or all(map(fitting.fits, value, want))


def _unique(_: Fitting, value: Any, want: Any, __: Any) -> bool:
    if not isinstance(value, list) or not want:
        return True
    return len({(type(item), repr(item)) for item in value}) == len(value)


def _one_of(fitting: Fitting, value: Any, want: Any, _: Any) -> bool:
    forms = [form for form in want if not (fitting.filled and stands_for_another(form))]
    return sum(fitting.fits(value, form) for form in forms) == 1


def _enum(_: Fitting, value: Any, want: Any, __: Any) -> bool:
    return any(value == choice and type(value) is type(choice) for choice in want)


def _pattern(fitting: Fitting, value: Any, want: Any, _: Any) -> bool:
    pattern = want.removesuffix(VARIABLE) if fitting.filled else want
    return not isinstance(value, str) or re.search(pattern, value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _minimum(_: Fitting, value: Any, want: Any, __: Any) -> bool:
    return not _is_number(value) or value >= want


def _maximum(_: Fitting, value: Any, want: Any, __: Any) -> bool:
    return not _is_number(value) or value <= want


def _min_length(_: Fitting, value: Any, want: Any, __: Any) -> bool:
    return not isinstance(value, str) or len(value) >= want


_RULES: dict[str, Callable[[Fitting, Any, Any, Any], bool]] = {
    "$ref": _ref,
    "type": _type,
    "enum": _enum,
    "oneOf": _one_of,
    "properties": _properties,
    "patternProperties": _patterned,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "required": _required,
    "items": _items,
    "prefixItems": _prefix,
    "uniqueItems": _unique,
    "pattern": _pattern,
    "minimum": _minimum,
    "maximum": _maximum,
    "minLength": _min_length,
}
READERS = frozenset(
    ("description", "examples", "default", "deprecated", "title", "$id", "$schema", "$comment", "$defs")
)
WORDS = frozenset(_RULES) | READERS | {"x-expected", "x-means"}  # all that may stand in the schema
