"""Whom to move so that a request of higher priority gets room: the least important, and as few as possible."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from orchestrator.scheduler.faults import faults
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.node import Request

CURABLE = ("cpus", "memory", "pids", "port", "device")  # what lies on the node, and not the node itself


@dataclass(frozen=True, slots=True)
class Eviction:
    """`victims` leave `node`; then the request fits there."""

    node: str
    victims: tuple[str, ...]


def evict(fleet: Fleet, request: Request, movable: Set[str]) -> Eviction | None:
    """The node where least is lost: the lowest priority of the most important victim, then fewest, then least room.

    Only names in `movable` of a priority lower than the request's are asked to go. The fleet is as before afterwards.
    """
    best: tuple[tuple[int, int, float], Eviction] | None = None
    for fault in faults(fleet, request):
        if not fault.only(*CURABLE):
            continue
        found = _on(fleet, request, fault.node, movable)
        if found:
            there = fleet.occupants[fault.node]
            cost = (max(there[name].priority for name in found), len(found), sum(map(_size, map(there.get, found))))
            if best is None or cost < best[0]:
                best = (cost, Eviction(fleet.nodes[fault.node].name, tuple(found)))
    return best[1] if best else None


def _on(fleet: Fleet, request: Request, node: int, movable: Set[str]) -> list[str]:
    """The victims on one node: the least important first until it fits, then without those that were not needed."""
    there = fleet.occupants[node]
    lower = [name for name, one in there.items() if name in movable and one.priority < request.priority]
    lower.sort(key=lambda name: (there[name].priority, -_size(there[name]), name))
    gone: dict[str, Request] = {}
    for name in lower:
        if fleet.fits(request, node):
            break
        gone[name] = fleet.drop(name)[0]
    enough = fleet.fits(request, node)
    home = fleet.nodes[node].name
    for name in reversed(list(gone)):
        fleet.put(gone[name], home, name)
        if enough and fleet.fits(request, node):
            del gone[name]  # it may stay
        else:
            fleet.drop(name)
    for name, one in gone.items():
        fleet.put(one, home, name)
    return list(gone) if enough else []


def _size(request: Request | None) -> float:
    return request.cpus + request.memory / (4 << 30) if request else 0.0
