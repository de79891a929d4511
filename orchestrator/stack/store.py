"""A Stack as JSON and back, exactly: how the agent keeps what is wanted over its own death and the host's."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.health.check import Check
from orchestrator.policy.restart import RestartPolicy
from orchestrator.scheduler.node import Request
from orchestrator.stack.model import (
    Attachment,
    Dependency,
    Limits,
    Mount,
    Network,
    Origin,
    Port,
    Service,
    Stack,
    Volume,
)


def to_json(stack: Stack) -> str:
    """One line of JSON. Field names are the classes'; origins are packed, because there is one for every word."""
    fields = fields_of(stack)
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
            "services": {key: service_from(value) for key, value in fields["services"].items()},
            "networks": {key: Network(**value) for key, value in fields["networks"].items()},
            "volumes": {key: Volume(**value) for key, value in fields["volumes"].items()},
            "origins": {path: Origin(files[file], line, column) for path, (file, line, column) in places.items()},
        }
    )


def fields_of(value: Any) -> dict[str, Any]:
    """One level of a dataclass: json's `default`, which asks again for those inside."""
    return {name: getattr(value, name) for name in value.__slots__}


def service_from(fields: dict[str, Any]) -> Service:
    """The Service whose `fields_of` became this JSON object."""
    check = fields["healthcheck"]
    return Service(
        **fields
        | {
            "command": _tuple(fields["command"]),
            "entrypoint": _tuple(fields["entrypoint"]),
            "depends_on": {key: Dependency(**value) for key, value in fields["depends_on"].items()},
            "healthcheck": check and Check(**check | {"test": tuple(check["test"])}),
            "restart": RestartPolicy(**fields["restart"]),
            "ports": tuple(Port(**value) for value in fields["ports"]),
            "networks": {
                key: Attachment(**value | {"aliases": tuple(value["aliases"])})
                for key, value in fields["networks"].items()
            },
            "mounts": tuple(Mount(**value | {"options": tuple(value["options"])}) for value in fields["mounts"]),
            "cap_add": tuple(fields["cap_add"]),
            "cap_drop": tuple(fields["cap_drop"]),
            "limits": Limits(**fields["limits"]),
            "reservations": Request(**fields["reservations"]),
        }
    )


def _tuple(words: list[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)
