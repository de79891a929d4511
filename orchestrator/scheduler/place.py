"""One request, some nodes: where it goes, or the whole explanation why it goes nowhere; and the scores as a table.

For many requests ask a `Fleet`, which keeps its index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.scheduler.faults import faults, free
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.load import Occupant
from orchestrator.scheduler.node import Node, Placed, Refused, Request, Row
from orchestrator.scheduler.refusal import refuse


def place(request: Request, nodes: Sequence[Node], occupants: Iterable[Occupant] = ()) -> Placed | Refused:
    """The node for `request`; `occupants` is what lies on the nodes already."""
    return answer(fleet_of(nodes, occupants, [request]), request)


def answer(fleet: Fleet, request: Request, subject: str = "") -> Placed | Refused:
    number = fleet.pick(request)
    if number is None:
        return refuse(fleet, request, subject)
    rows = table(fleet, request, number)
    return Placed(fleet.nodes[number].name, decided(rows), rows)


def explain(request: Request, nodes: Sequence[Node], occupants: Iterable[Occupant] = ()) -> tuple[Row, ...]:
    """The score table, the chosen node first, then the better before the worse, then those ruled out."""
    fleet = fleet_of(nodes, occupants, [request])
    return table(fleet, request, fleet.pick(request))


def table(fleet: Fleet, request: Request, chosen: int | None) -> tuple[Row, ...]:
    """As `explain`, of a fleet that is there and a node that was chosen there."""
    rows = []
    for fault in faults(fleet, request):
        name, (cpus, memory) = fleet.nodes[fault.node].name, free(fleet, fault.node)
        if fault.found:
            rows.append(Row(name, ", ".join(fault.found.values()), free_cpus=cpus, free_memory=memory))
            continue
        preference, score = fleet.rank(request, fault.node)
        stranded = fleet.strands(request, fault.node)
        reserved = _reserved(fleet, request, fault.node)
        mine = fault.node == chosen
        left = score - stranded
        rows.append(Row(name, None, preference, score, stranded, left, reserved, cpus, memory, chosen=mine))
    return tuple(sorted(rows, key=lambda row: (row.fault is not None, not row.chosen, row.preference, row.score)))


def decided(rows: Sequence[Row]) -> str:
    """What decided for the first of these rows, the chosen one, in words."""
    best, *others = [row for row in rows if row.fault is None]
    if len(rows) == 1:
        return "the only node"
    if not others:
        return f"the only one of {len(rows)} nodes that can take it"
    which = f"of {len(others) + 1} nodes that can take it"
    if all(best.preference < other.preference for other in others):
        return f"spread and affinities are for it, {which}"
    rivals = [other for other in others if other.preference == best.preference]
    if all(best.stranded < other.stranded - 1e-9 for other in rivals):
        return f"strands the least room, {which}"
    return f"best fit: {best.reserved:.0%} reserved with it, {which}"


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
