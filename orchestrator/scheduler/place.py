"""One request, some nodes: where it goes, or the whole explanation why it goes nowhere; and the scores as a table.

For many requests ask a `Fleet`, which keeps its index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.scheduler.faults import faults, free
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.load import Occupant
from orchestrator.scheduler.node import Node, Placed, Refused, Request
from orchestrator.scheduler.refusal import refuse


@dataclass(frozen=True, slots=True)
class Row:
    """One node in the score table of a placement: `fault` where it was ruled out, else how good it is.

    `reserved`: the mean share of its cpus and memory that is reserved with the request. `stranded`: by how much the
    share of a largest node grows that can no longer be used (see `score`). `preference`: spread and affinities, less is
    better and counts first. The lowest `score` among equal preferences is chosen.
    """

    node: str
    fault: str | None
    preference: float = 0.0
    score: float = 0.0
    stranded: float = 0.0
    reserved: float = 0.0
    free_cpus: float = 0.0
    free_memory: int = 0
    chosen: bool = False


def place(request: Request, nodes: Sequence[Node], occupants: Iterable[Occupant] = ()) -> Placed | Refused:
    """The node for `request`; `occupants` is what lies on the nodes already."""
    return answer(fleet_of(nodes, occupants, [request]), request)


def answer(fleet: Fleet, request: Request, subject: str = "") -> Placed | Refused:
    number = fleet.pick(request)
    if number is None:
        return refuse(fleet, request, subject)
    return Placed(fleet.nodes[number].name, why(fleet, request, number))


def why(fleet: Fleet, request: Request, number: int) -> str:
    """What decided for this node."""
    if len(fleet.nodes) == 1:
        return "the only node"
    others = any(fleet.fits(request, other) for other in range(len(fleet.nodes)) if other != number)
    return f"best fit: {_reserved(fleet, request, number):.0%} reserved with it" if others else "the only one that can"


def explain(request: Request, nodes: Sequence[Node], occupants: Iterable[Occupant] = ()) -> tuple[Row, ...]:
    """The score table, the chosen node first, then the better before the worse, then those ruled out."""
    return table(fleet_of(nodes, occupants, [request]), request)


def table(fleet: Fleet, request: Request) -> tuple[Row, ...]:
    """As `explain`, of a fleet that is there."""
    chosen = fleet.pick(request)
    rows = []
    for fault in faults(fleet, request):
        name, (cpus, memory) = fleet.nodes[fault.node].name, free(fleet, fault.node)
        if fault.found:
            rows.append(Row(name, ", ".join(fault.found.values()), free_cpus=cpus, free_memory=memory))
            continue
        preference, score = fleet.rank(request, fault.node)
        stranded = fleet.strands(request, fault.node)
        reserved = _reserved(fleet, request, fault.node)
        rows.append(Row(name, None, preference, score, stranded, reserved, cpus, memory, chosen=fault.node == chosen))
    return tuple(sorted(rows, key=lambda row: (row.fault is not None, not row.chosen, row.preference, row.score)))


def fleet_of(nodes: Sequence[Node], occupants: Iterable[Occupant], asked: Iterable[Request] = ()) -> Fleet:
    """The nodes with what lies on them. The mean request is that of all who are there and those who ask."""
    there = list(occupants)
    fleet = Fleet(nodes, [*((one.request, 1) for one in there), *((request, 1) for request in asked)])
    for one in there:
        if one.node in fleet.names:
            fleet.put(one.request, one.node, one.name)
    return fleet


def _reserved(fleet: Fleet, request: Request, number: int) -> float:
    node, (cpus, memory) = fleet.nodes[number], free(fleet, number)
    whole_cpus, whole_memory = node.cpus * node.cpu_ratio, node.memory * node.memory_ratio
    one = 1 - (cpus - request.cpus) / whole_cpus if whole_cpus else 1.0
    other = 1 - (memory - request.memory) / whole_memory if whole_memory else 1.0
    return (one + other) / 2
