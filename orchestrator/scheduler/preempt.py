"""Whom to move so that a request of higher priority gets room: the least important, and as few as possible."""

from __future__ import annotations

from collections.abc import Sequence, Set
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
    """The victims on one node: the least important first until it fits, then without those that were not needed, and
    each as small as it may be."""
    there, home = dict(fleet.occupants[node]), fleet.nodes[node].name
    lower = [name for name, one in there.items() if name in movable and one.priority < request.priority]
    lower.sort(key=lambda name: (there[name].priority, -_size(there[name]), name))
    gone: list[str] = []
    for name in lower:
        if fleet.fits(request, node):
            break
        fleet.drop(name)
        gone.append(name)
    enough = fleet.fits(request, node)
    for name in gone[::-1] if enough else ():
        fleet.put(there[name], home, name)
        if fleet.fits(request, node):
            gone.remove(name)  # it may stay
        else:
            fleet.drop(name)
    for place, name in enumerate(gone if enough else ()):
        others = [one for one in lower if one not in gone]
        gone[place] = _smaller(fleet, request, node, (name, there[name]), others)
    for name in gone:
        fleet.put(there[name], home, name)
    return gone if enough else []


def _smaller(fleet: Fleet, request: Request, node: int, victim: tuple[str, Request], others: Sequence[str]) -> str:
    """Who can go instead of a victim that is gone: the smallest that is enough and no more important; else itself."""
    (name, mine), home = victim, fleet.nodes[node].name
    there = fleet.occupants[node]
    less = [one for one in others if there[one].priority <= mine.priority and _size(there[one]) < _size(mine)]
    less.sort(key=lambda one: (there[one].priority, _size(there[one]), one))
    fleet.put(mine, home, name)
    for one in less:
        back, _ = fleet.drop(one)
        if fleet.fits(request, node):
            return one
        fleet.put(back, home, one)
    fleet.drop(name)
    return name


def _size(request: Request | None) -> float:
    return request.cpus + request.memory / (4 << 30) if request else 0.0
