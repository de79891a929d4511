"""A Stack as JSON and back, exactly: how the agent keeps what is wanted over its own death and the host's."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from orchestrator.stack.model import Material, Network, Origin, Service, Shares, Stack, Volume

Reader = Callable[[Any], Any]


def to_json(stack: Stack) -> str:
    """One line of JSON. Field names are the classes'; origins are packed, because there is one for every word."""
    fields = fields_of(stack)
    del fields["contents"], fields["derived"]
    files = list(dict.fromkeys(origin.file for origin in stack.origins.values()))
    number = {file: index for index, file in enumerate(files)}
    packed = {path: (number[origin.file], origin.line, origin.column) for path, origin in stack.origins.items()}
    return json.dumps(fields | {"origins": {"files": files, "places": packed}}, default=fields_of, ensure_ascii=False)


def from_json(text: str) -> Stack:
    """The Stack that `to_json` wrote, equal to the first. A text of another shape raises KeyError or TypeError."""
    fields = json.loads(text)
    files, places = fields["origins"]["files"], fields["origins"]["places"]
    return Stack(
        **fields
        | {
            "files": tuple(fields["files"]),
            "warnings": tuple(fields["warnings"]),
            "inputs": tuple(fields.get("inputs", ())),
            "shares": made(Shares, fields.get("shares", {})),
            "services": {key: service_from(value) for key, value in fields["services"].items()},
            "networks": {key: made(Network, value) for key, value in fields["networks"].items()},
            "volumes": {key: made(Volume, value) for key, value in fields["volumes"].items()},
            "configs": {key: made(Material, value) for key, value in fields.get("configs", {}).items()},
            "secrets": {key: made(Material, value) for key, value in fields.get("secrets", {}).items()},
            "origins": {path: Origin(files[file], line, column) for path, (file, line, column) in places.items()},
        }
    )


def fields_of(value: Any) -> dict[str, Any]:
    """One level of a dataclass: json's `default`, which asks again for those inside."""
    return {name: getattr(value, name) for name in value.__slots__}


def service_from(fields: dict[str, Any]) -> Service:
    """The Service whose `fields_of` became this JSON object."""
    service: Service = made(Service, fields)
    return service


def made(kind: type[Any], fields: Mapping[str, Any]) -> Any:
    """The dataclass of `kind` whose `fields_of` became this JSON object: lists become tuples, objects dataclasses
    again. A field that was not known when it was written has its default. TypeError where one is not known now."""
    readers = _known.get(kind) or _known.setdefault(kind, _readers(kind))
    return kind(**{key: readers[key](value) if key in readers else value for key, value in fields.items()})


_known: dict[type[Any], dict[str, Reader]] = {}


def _readers(kind: type[Any]) -> dict[str, Reader]:
    """Field → how its JSON is read; those that JSON gives back as they were have none."""
    readers = {key: _reader(hint) for key, hint in get_type_hints(kind).items()}
    return {key: reader for key, reader in readers.items() if reader}


def _reader(hint: Any) -> Reader | None:
    origin, inside = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return lambda value: made(hint, value)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        if sum(map(is_dataclass, inside)) > 1:
            return _of_several([one for one in inside if is_dataclass(one)])
        found = [reader for reader in map(_reader, inside) if reader]
        return (lambda value: None if value is None else found[0](value)) if found else None
    if origin is tuple:
        return _of_tuple(_reader(inside[0]))
    if origin is Mapping and (below := _reader(inside[1])):
        return lambda value: {key: below(part) for key, part in value.items()}
    return None


def _of_several(kinds: Sequence[Any]) -> Reader:
    """One of several dataclasses: no two of them have the same fields."""
    by_fields = {frozenset(kind.__slots__): kind for kind in kinds}
    return lambda value: None if value is None else made(by_fields[frozenset(value)], value)


def _of_tuple(below: Reader | None) -> Reader:
    return (lambda value: tuple(map(below, value))) if below else tuple
