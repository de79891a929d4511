"""How the node of a replica was chosen: the score table of its placement, kept in its bundle, read by `pyorch why`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from orchestrator.agent import clock
from orchestrator.agent.containers import Record
from orchestrator.reconcile.room import Room
from orchestrator.reconcile.world import Wanted
from orchestrator.scheduler.node import Placed, Row
from orchestrator.scheduler.place import table
from orchestrator.stack.placement import asked

if TYPE_CHECKING:
    from orchestrator.agent.circle import Circle

KEPT = 50  # rows: the chosen node and the best after it


def kept(placed: Placed | None) -> Mapping[str, Any]:
    """The table as it is written beside the container; {} where nothing was chosen."""
    if placed is None:
        return {}
    return {"why": placed.why, "at": clock.wall_ns() / 1e9, **rows(placed.scores)}


def rows(scores: Iterable[Row]) -> dict[str, Any]:
    """`nodes`: how many there were; `fits`: how many could take it; `rows`: the first of the table."""
    found = list(scores)
    return {
        "nodes": len(found),
        "fits": sum(row.fault is None for row in found),
        "rows": [asdict(row) for row in found[:KEPT]],
    }


def of_service(circle: Circle, wish: Wanted, service: str) -> list[dict[str, Any]]:
    """How each replica of a service came to its node; and how the nodes are for one that waits for its place."""
    records = [one for one in circle.containers.of(wish.stack.name) if one.service == service and one.slot > 0]
    found = [_told(record) for record in sorted(records, key=lambda one: one.slot) if record.placement]
    waiting = _waiting(circle, wish, service, {record.name for record in records})
    definition = wish.stack.services.get(service)
    if waiting and definition is not None:
        stacks = {one.stack.name: one for one in circle.wishes.all()}
        fleet = Room(circle.world, stacks).fleet
        now = rows(table(fleet, asked(definition, wish.stack), None))
        found.append({"subject": waiting[0], "node": "", "why": "waits for a place", **now})
    return found


def _told(record: Record) -> dict[str, Any]:
    return {"subject": record.name, "node": record.node, **record.placement}


def _waiting(circle: Circle, wish: Wanted, service: str, there: set[str]) -> list[str]:
    prefix = f"{wish.stack.name}-{service}-"
    held = (hold for hold in circle.plan.holds if hold.outlook == "parked" and hold.subject not in there)
    return [hold.subject for hold in held if hold.subject.removeprefix(prefix).isdigit()]
