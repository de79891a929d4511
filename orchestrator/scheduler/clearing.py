"""Fixes that take something away from a node: one replica stopped, or moved where there is room for it, or all of
another stack there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator import units
from orchestrator.scheduler.faults import Faults
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.node import Fix, Request
from orchestrator.scheduler.score import micro

TRIES = 200  # replicas that are tried


def clear(fleet: Fleet, request: Request, found: Sequence[Faults]) -> Iterator[Fix]:
    """The least important and smallest replica that is enough to stop, unless one as good can be moved."""
    helps = False
    for name, number in _candidates(fleet, request, found)[:TRIES]:
        there, _ = fleet.drop(name)
        fits, target = _tried(fleet, request, there, number)
        where = fleet.nodes[number].name
        fleet.put(there, where, name)
        if fits and target is not None:
            text = f"move {name} from {where} to {fleet.nodes[target].name} (frees {frees(there)})"
            yield Fix("move", text, where, name)
            return
        if fits and not helps:
            helps = True
            yield Fix("stop", f"stop {name} on {where}: frees {frees(there)}", where, name)
    if not helps:
        yield from _stop_stack(fleet, request, found)


def _candidates(fleet: Fleet, request: Request, found: Sequence[Faults]) -> list[tuple[str, int]]:
    """(replica, its node) of those of other services that free as much as is lacking, the least important first."""
    enough: list[tuple[int, float, str, int]] = []
    for one in found:
        if not one.only("cpus", "memory", "port", "device", "pids", "affinity"):
            continue
        node = fleet.nodes[one.node]
        for name, there in fleet.occupants[one.node].items():
            own = there.service and there.service == request.service
            if own or micro(there.cpus) < one.cpu_short or there.memory < one.memory_short:
                continue
            enough.append((there.priority, size(there, node.cpus, node.memory), name, one.node))
    return [(name, number) for _, _, name, number in sorted(enough)]


def size(request: Request, cpus: float, memory: int) -> float:
    """Of a replica, as shares of a node of so many cores and bytes."""
    return request.cpus / (cpus or 1.0) + request.memory / (memory or 1)


def _tried(fleet: Fleet, request: Request, moved: Request, number: int) -> tuple[bool, int | None]:
    """Whether `request` fits on the node, and where `moved` could go then."""
    if not fleet.fits(request, number):
        return False, None
    volumes = dict(fleet.volumes)
    fleet.put(request, fleet.nodes[number].name, "\0")
    target = fleet.pick(moved)
    fleet.drop("\0")
    fleet.volumes = volumes
    return True, target


def _stop_stack(fleet: Fleet, request: Request, found: Sequence[Faults]) -> Iterator[Fix]:
    """No single replica is enough: all of another stack on one node, the smallest that is."""
    own = request.service.partition("/")[0]
    enough: list[tuple[float, str, int, Request]] = []
    for one in found:
        if not one.only("cpus", "memory"):
            continue
        sums: dict[str, Request] = {}
        for there in fleet.occupants[one.node].values():
            stack, slash, _ = there.service.partition("/")
            if slash and stack != own:
                before = sums.get(stack, Request())
                sums[stack] = Request(before.cpus + there.cpus, before.memory + there.memory)
        node = fleet.nodes[one.node]
        for stack, whole in sums.items():
            if micro(whole.cpus) >= one.cpu_short and whole.memory >= one.memory_short:
                enough.append((size(whole, node.cpus, node.memory), stack, one.node, whole))
    for _, stack, number, whole in sorted(enough, key=lambda entry: entry[:3]):
        where = fleet.nodes[number].name
        if _without(fleet, request, number, stack):
            yield Fix("stop", f"stop instance {stack}: frees {frees(whole)} on {where}", where, stack)
            return


def _without(fleet: Fleet, request: Request, number: int, stack: str) -> bool:
    """Whether it fits on a node once nothing of `stack` is there: it may have needed some of it beside it."""
    where = fleet.nodes[number].name
    gone = {name: one for name, one in fleet.occupants[number].items() if one.service.startswith(f"{stack}/")}
    for name in gone:
        fleet.drop(name)
    fits = fleet.fits(request, number)
    for name, one in gone.items():
        fleet.put(one, where, name)
    return fits


def frees(request: Request) -> str:
    """What becomes free with it, in words."""
    parts = [units.human_bytes(request.memory)] if request.memory else []
    parts += [f"{units.human_cpus(request.cpus)} cpus"] if request.cpus else []
    parts += [f"{'every' if count >= 1 << 20 else count} {kind}" for kind, count in request.devices]
    return " and ".join(parts) or "its place"
