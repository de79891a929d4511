"""Nodes as people see them: reserved, used as measured, free; what could be moved; and what reservations should be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator import units
from orchestrator.agent import clock
from orchestrator.agent.circle import Circle
from orchestrator.agent.containers import Record
from orchestrator.errors import Conflict, Mistake
from orchestrator.kernel import cgroups, pressure
from orchestrator.reconcile.room import Room
from orchestrator.reconcile.world import Wanted
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.place import table
from orchestrator.scheduler.rebalance import Proposal, proposals
from orchestrator.stack.placement import asked

SAMPLE = 0.2  # seconds between two looks at the processor time
HEADROOM = 1.2  # of the measured peak
MOVES = 20  # at most, unless somebody says otherwise


def fleet_of(circle: Circle) -> Fleet:
    """The nodes with all that has its room on them now."""
    return Room(circle.observe(), {wish.stack.name: wish for wish in circle.wishes.all()}).fleet


def group(circle: Circle, record: Record) -> cgroups.Group:
    return cgroups.Group(f"/{circle.root.cgroup}/{record.id}")


async def rates(groups: Sequence[cgroups.Group]) -> list[float]:
    """Cores that each group uses just now, measured over `SAMPLE` seconds."""
    if not groups:
        return []
    began, before = clock.now(), [one.cpu() for one in groups]
    await asyncio.sleep(SAMPLE)
    spent = clock.now() - began
    return [max(one.cpu() - past, 0) / 1e9 / spent for one, past in zip(groups, before, strict=True)]


async def nodes(circle: Circle) -> list[dict[str, Any]]:
    """A row for each node: cores and bytes reserved, used (measured now), and of how much."""
    running = [record for record in circle.containers if record.phase == "running"]
    measured = await rates([group(circle, record) for record in running])
    used: dict[str, tuple[float, int]] = {}
    for record, rate in zip(running, measured, strict=True):
        cpus, memory = used.get(record.node, (0.0, 0))
        used[record.node] = (cpus + rate, memory + group(circle, record).memory()[0])
    fleet, rows = fleet_of(circle), []
    for node in circle.nodes.all:
        load, (cpus, memory) = fleet.load(fleet.names[node.name]), used.get(node.name, (0.0, 0))
        state = "drained" if node.drained else "cordoned" if node.cordoned else "ready" if node.ready else "gone"
        rows.append(
            {
                "Name": node.name,
                "State": state,
                "Role": node.role,
                "Architecture": node.architecture,
                "Os": node.os,
                "Labels": dict(node.labels),
                "EngineLabels": dict(node.engine_labels),
                "Devices": {
                    kind: {"capacity": count, "reserved": min(load.devices[kind], count)}
                    for kind, count in node.devices.items()
                },
                "Runtimes": ["native", *node.runtimes],
                "Note": circle.nodes.note,
                "Containers": sum(record.node == node.name for record in running),
                "Cpus": {"capacity": node.cpus, "reserved": round(load.cpus, 6), "used": round(cpus, 3)},
                "Memory": {"capacity": node.memory, "reserved": load.memory, "used": memory},
            }
        )
    return rows


def rebalance(circle: Circle, most: int, *, now: bool) -> dict[str, Any]:
    """The moves that would empty nodes; made only `now`. Raises Conflict where a move cannot be asked for."""
    fleet = fleet_of(circle)
    movable = {
        record.name
        for record in circle.containers
        if record.phase == "running" and not any(mount.kind == "volume" for mount in record.definition.mounts)
    }
    found = list(proposals(fleet, movable, most))
    if now:
        for proposal in found:
            for move in proposal.moves:
                circle.nodes.moves[move.name] = move.target
                circle.events.note("move", move.name, f"rebalance: to {move.target}", stack="", service="")
        circle.bell.ring()
    return {"proposals": [_proposal(one) for one in found], "made": now}


def _proposal(one: Proposal) -> dict[str, Any]:
    room = f"{units.human_cpus(one.emptied.cpus)} cpus and {units.human_bytes(one.emptied.memory)}"
    return {
        "gain": f"{one.emptied.name} becomes empty: {room} in one piece",
        "cost": f"{len(one.moves)} {'replica restarts' if len(one.moves) == 1 else 'replicas restart'}",
        "moves": [{"name": move.name, "from": move.source, "to": move.target} for move in one.moves],
    }


def score_table(circle: Circle, stack: str, service: str) -> list[dict[str, Any]]:
    """How good each node is for one more replica of a service, or why it is out. Raises Mistake."""
    wish = circle.wishes.get(stack)
    if wish is None or service not in wish.stack.services:
        raise Mistake(f"cannot score nodes: there is no service {service!r} in stack {stack!r} here")
    fleet, request = fleet_of(circle), asked(wish.stack.services[service], wish.stack)
    rows = table(fleet, request, fleet.pick(request))
    return [{name: getattr(row, name) for name in row.__slots__} for row in rows]


async def advise(circle: Circle, stack: str) -> list[dict[str, Any]]:
    """A row for each service with running replicas: reserved, measured, and the reservation that would suit it."""
    wish = circle.wishes.get(stack)
    if wish is None:
        raise Conflict(f"cannot advise: stack {stack!r} is not up here")
    running = [one for one in circle.containers.of(stack) if one.phase == "running"]
    measured = await rates([group(circle, record) for record in running])
    return list(_advice(circle, wish, running, dict(zip((one.id for one in running), measured, strict=True))))


def _advice(
    circle: Circle, wish: Wanted, running: Sequence[Record], now: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    for name, service in wish.stack.services.items():
        records = [one for one in running if one.service == name]
        if not records:
            continue
        groups = [group(circle, record) for record in records]
        seconds = [max(clock.now() - (record.started or clock.now()), 0.1) for record in records]
        averages = [one.cpu() / 1e9 / since for one, since in zip(groups, seconds, strict=True)]
        cpus = max(*averages, *(now[record.id] for record in records))
        memory = max(pressure.peak_memory(one) for one in groups)
        throttled = max(pressure.throttled(one) for one in groups)
        asked_for = service.reservations
        yield {
            "Service": name,
            "Replicas": len(records),
            "Seconds": round(min(seconds), 1),
            "Reserved": {"cpus": asked_for.cpus, "memory": asked_for.memory},
            "Measured": {"cpus": round(cpus, 3), "memory": memory, "throttled": round(throttled, 3)},
            "Pressure": pressure.stalls(groups),
            "Advice": {
                "cpus": suits(asked_for.cpus, _up(cpus * HEADROOM, 0.05), service.limits.cpus),
                "memory": suits(asked_for.memory, int(_up(memory * HEADROOM, 16 << 20)), service.limits.memory),
            },
            "Limit": "its cpus limit throttles it; raise it" if throttled > 0.05 else "",
        }


def suits(reserved: float, better: float, limit: float | None = None) -> float | None:
    """The better reservation, or None where the present one is near enough. More than its limit is never reserved."""
    better = min(better, limit or better)
    return None if better * 0.8 <= reserved <= better * 1.5 else better


def _up(amount: float, step: float) -> float:
    return round(-(-amount // step) * step, 6)
