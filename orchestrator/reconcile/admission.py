"""Who may start when room is short: quotas of a stack, all or nothing (gang), and priorities with those they move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator import units
from orchestrator.reconcile.leaving import stop
from orchestrator.reconcile.plan import Hold, Stop
from orchestrator.reconcile.replica import count, named
from orchestrator.reconcile.scene import Scene
from orchestrator.reconcile.turn import Line, Turn
from orchestrator.reconcile.world import Container
from orchestrator.scheduler.node import Request
from orchestrator.scheduler.preempt import evict
from orchestrator.scheduler.refusal import amount, refuse
from orchestrator.stack.model import Service, Stack
from orchestrator.stack.placement import asked


def by_priority(scenes: Sequence[Scene]) -> list[tuple[Scene, str]]:
    """Every service, in the order in which they get room: what is more important first, with all it depends on."""
    ordered = [(scene, service) for scene in scenes for service in scene.order]
    if len(scenes) == 1 and not scenes[0].blueprint.priorities and not scenes[0].wanted.orphans:
        return ordered
    return sorted(ordered, key=lambda one: -one[0].weights[one[1]])


def refused(scene: Scene, service: Service) -> str | None:
    """Why no further replica of `service` may start, whatever room there is."""
    return whole(scene) or over_quota(scene, service)


def over_quota(scene: Scene, service: Service) -> str | None:
    """The stack's quota has no room for one more."""
    shares = scene.stack.shares
    if shares.quota_cpus is None and shares.quota_memory is None:
        return None
    return beyond(scene.stack, asked(service, scene.stack), scene.turn.room.reserved(scene.stack.name))


def beyond(stack: Stack, request: Request, taken: Request) -> str | None:
    """Why a stack that has `taken` cpus and memory may not have `request` as well."""
    shares = stack.shares
    if request.cpus and shares.quota_cpus is not None and taken.cpus + request.cpus > shares.quota_cpus + 1e-9:
        quota = f"{units.human_cpus(shares.quota_cpus)} cpus"
    elif request.memory and shares.quota_memory is not None and taken.memory + request.memory > shares.quota_memory:
        quota = units.human_bytes(shares.quota_memory)
    else:
        return None
    return (
        f"needs {amount(Request(request.cpus, request.memory))}; the quota of stack {stack.name} is {quota}, and"
        f" {amount(taken) if taken != Request() else 'nothing'} of it is taken;"
        " raise x-pyorch.quota, or lower a reservation"
    )


def whole(scene: Scene) -> str | None:
    """All or nothing: nothing of the stack is there, and not all of it fits."""
    if not scene.stack.shares.gang or any(scene.containers.values()) or _under_way(scene):
        return None
    if scene.gang is None:
        scene.gang = _trial(scene)
    return scene.gang or None


def _trial(scene: Scene) -> str:
    """Lay the whole stack on the nodes and take it away again; "" where all of it fits."""
    fleet, stack = scene.turn.room.fleet, scene.stack
    laid, volumes, said = [], dict(fleet.volumes), ""
    ones = [scene.services[name] for name in scene.order if scene.runs(name)]
    ones.sort(key=lambda service: -service.placement.priority)
    for service in ones:
        request = asked(service, stack)
        for number in range(1, count(scene.wanted, service) + 1):
            node = fleet.pick(request)
            if node is None:
                said = (
                    f"starts as a whole or not at all (gang): {service.name} {refuse(fleet, request, service.name).why}"
                )
                break
            laid.append(named(stack.name, service, number))
            fleet.put(request, fleet.nodes[node].name, laid[-1])
        if said:
            break
    for ghost in laid:
        fleet.drop(ghost)
    fleet.volumes = volumes
    return said


def _under_way(scene: Scene) -> bool:
    prefix = f"{scene.stack.name}-"
    return any(name.startswith(prefix) for name in scene.turn.world.busy)


def _weight(turn: Turn, one: Container) -> int:
    """The priority of a replica, or of what needs it: nobody moves what itself stands on."""
    scene = turn.scenes.get(one.stack)
    own = turn.room.priority(one.name)
    return max(own, scene.weights.get(one.service, 0)) if scene is not None else own


def movable(turn: Turn, priority: int) -> dict[str, Container]:
    """Who could be moved for a replica of this priority, by name."""
    where = turn.room.fleet.where
    return {
        one.name: one
        for one in turn.world.containers
        if one.phase == "running" and one.name in where and _weight(turn, one) < priority
    }


def make_room(scene: Scene, service: Service, name: str, why: str) -> Iterator[Line]:
    """No room for `name`: whoever is less important is moved, if that helps. They start again where there is room."""
    turn, request = scene.turn, asked(service, scene.stack)
    room = turn.room
    lower = movable(turn, request.priority)
    stopped = {subject for subject, action in turn.acted.items() if isinstance(action, Stop)}
    going = sorted((turn.world.busy | stopped).intersection(lower))
    if going:
        yield Hold(name, f"{why}; waits for {going[0]} to stop", outlook="soon")
        return
    found = evict(room.fleet, request, lower.keys())
    if found is None:
        yield Hold(name, why, outlook="parked")
        return
    freed = Request()
    for victim in found.victims:
        one = lower[victim]
        reason = f"makes room for {name} (priority {request.priority} before {room.priority(victim)})"
        other = turn.scenes.get(one.stack)
        yield replace(stop(one, reason, other.wanted.grace if other else None), moved=True)
        if other is not None:
            other.touched.add(victim)
        left, _ = room.fleet.drop(victim)
        freed = Request(freed.cpus + left.cpus, freed.memory + left.memory)
    # Nobody slips in this turn: not into the place that is being made, nor into what is left beside it, for those who
    # make it still run.
    room.move(name, found.node, request)
    room.fleet.block(found.node, max(freed.cpus - request.cpus, 0.0), max(freed.memory - request.memory, 0))
    yield Hold(name, f"{found.victims[0]} makes room on {found.node}", outlook="soon")
