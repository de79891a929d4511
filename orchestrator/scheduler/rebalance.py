"""Which moves would be worth it: nodes that could be emptied because all that lies on them fits elsewhere.

Nothing moves by itself. Each proposal says what is gained (a whole node, in one piece) and what it costs (restarts).
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.node import Node, Request


@dataclass(frozen=True, slots=True)
class Move:
    name: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """All of `moves` together make `emptied` empty."""

    emptied: Node
    moves: tuple[Move, ...]


def proposals(fleet: Fleet, movable: Set[str], most: int) -> Iterator[Proposal]:
    """Nodes that can be emptied with at most so many moves in all, the emptiest first. The fleet is as after them."""
    used = [number for number, there in enumerate(fleet.occupants) if there]
    order = sorted(used, key=lambda number: (_reserved(fleet, number), number))
    taken: set[int] = set()  # a node that takes in what another gave away is not emptied in turn
    for number in order:
        there = dict(fleet.occupants[number])
        if number in taken or len(there) > most or not there.keys() <= movable:
            continue
        moves = _elsewhere(fleet, number, there)
        if moves:
            most -= len(moves)
            taken |= {fleet.names[move.target] for move in moves}
            yield Proposal(fleet.nodes[number], tuple(moves))


def _elsewhere(fleet: Fleet, number: int, there: dict[str, Request]) -> list[Move]:
    """Everything on a node laid on others that are in use already; [] and nothing changed where that cannot be."""
    source = fleet.nodes[number].name
    moves: list[Move] = []
    for name, request in sorted(there.items(), key=lambda one: (-one[1].cpus, -one[1].memory, one[0])):
        fleet.drop(name)
        target = _place(fleet, request, number)
        if target is None:
            fleet.put(request, source, name)
            for move in moves:
                fleet.drop(move.name)
                fleet.put(there[move.name], source, move.name)
            return []
        fleet.put(request, fleet.nodes[target].name, name)
        moves.append(Move(name, source, fleet.nodes[target].name))
    return moves


def _place(fleet: Fleet, request: Request, source: int) -> int | None:
    fits = [
        number
        for number, there in enumerate(fleet.occupants)
        if number != source and there and fleet.fits(request, number)
    ]
    return min(fits, key=lambda number: (*fleet.rank(request, number), number), default=None)


def _reserved(fleet: Fleet, number: int) -> float:
    """The larger share of a node that is reserved."""
    node, load = fleet.nodes[number], fleet.load(number)
    return max(load.cpus / (node.cpus or 1.0), load.memory / (node.memory or 1))
