"""What the rules look at, and what they return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from orchestrator import units
from orchestrator.stack.places import Marks, Path


@dataclass(frozen=True, slots=True)
class Subject:
    """The effective stack, as `config` prints it; `services`: those whose profiles are active, `disabled`: the others.

    `marks`: where each value was written. `exists`: whether the host has the path.
    """

    tree: Mapping[str, Any]
    services: Mapping[str, Any]
    disabled: Mapping[str, Any]
    marks: Marks
    exists: Callable[[str], bool]

    def written(self, path: Path) -> str:
        """The text of the file at `path`, before variables were filled in; "" where nothing was written."""
        node = self.marks[path][2] if path in self.marks else None
        value = getattr(node, "value", "")
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Finding:
    """`path`: what it is about; `key`: its key rather than its value. `remedy`: the way out, a clause."""

    path: Path
    text: str
    remedy: str
    key: bool = False


Rule: TypeAlias = Callable[[Subject], Iterator[Finding]]


def replicas(service: Mapping[str, Any]) -> int:
    count = (service.get("deploy") or {}).get("replicas", service.get("scale"))
    return count if isinstance(count, int) else 1


def has_check(service: Mapping[str, Any]) -> bool:
    check = service.get("healthcheck") or {}
    return bool(check.get("test")) and not check.get("disable") and check["test"] not in (["NONE"], "NONE")


def seconds(value: object, default: float = 0.0) -> float:
    """The duration, or `default` where none is written."""
    try:
        return units.duration(str(value)) if value is not None else default
    except ValueError:
        return default


def size(value: object) -> int | None:
    try:
        return units.size(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None


def cpus(value: object) -> float | None:
    try:
        return units.cpus(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None
