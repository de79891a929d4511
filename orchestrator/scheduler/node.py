"""The values of placement: what a replica asks, what a node has, and the two possible answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """What one replica reserves. `cpus` in cores, `memory` in bytes."""

    cpus: float = 0.0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A machine: its capacity (cores, bytes) less what is kept free, and what may be said of it."""

    name: str
    cpus: float
    memory: int
    ready: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placed:
    """The replica goes to `node`; `why` says what decided it."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It goes nowhere now; `why` is the sentence with the figures."""

    why: str
