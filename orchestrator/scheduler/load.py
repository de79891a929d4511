"""What lies on a node already, counted from the replicas there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.scheduler.node import HostPort, Request


@dataclass(slots=True)
class Load:
    """Sums of what is reserved on one node. `services`: how many replicas of each; `ports`: which service has which."""

    cpus: float = 0.0
    memory: int = 0
    pids: int = 0
    devices: Counter[str] = field(default_factory=Counter)
    services: Counter[str] = field(default_factory=Counter)
    ports: set[tuple[HostPort, str]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Occupant:
    """A replica (by its container's name) that lies on a node, with what it asked for."""

    name: str
    node: str
    request: Request


def load(occupants: Iterable[tuple[str, Request]]) -> Load:
    """The sums over (name, request) of one node."""
    found = Load()
    for name, request in occupants:
        found.cpus += request.cpus
        found.memory += request.memory
        found.pids += request.pids
        for kind, count in request.devices:
            found.devices[kind] += count
        if request.service:
            found.services[request.service] += 1
        for port in request.ports:
            found.ports.add((port, request.service or name))
    return found
