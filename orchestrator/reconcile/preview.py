"""What an apply would mean, service by service: the change and its class, what it triggers in others, how long nobody
would answer, and whether there is room. Pure: it is told the world and this machine's own times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestrator.reconcile.admission import by_priority, movable, refused
from orchestrator.reconcile.difference import KINDS, Change, Kind, service_changes
from orchestrator.reconcile.replica import count
from orchestrator.reconcile.rollout import order_of
from orchestrator.reconcile.scene import Scene
from orchestrator.reconcile.turn import Turn
from orchestrator.reconcile.world import Wanted, World
from orchestrator.scheduler.node import Placed, Refused
from orchestrator.scheduler.preempt import evict
from orchestrator.stack.model import Service, Stack

Class: TypeAlias = Literal["start", "stop", "remove", "keep"] | Kind


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that starts (until ready) and stops of a service took on this machine, shortest first."""

    starts: Sequence[float] = ()
    stops: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Downtime:
    """Seconds in which no replica would answer. None: nothing is known of it. `why`: how that comes about."""

    p50: float | None
    p95: float | None
    why: str

    def __str__(self) -> str:
        if self.p50 is None or self.p95 is None:
            return f"unknown: {self.why}"
        if self.p95 == 0:
            return f"none: {self.why}"
        return f"about {_seconds(self.p50)} (p95 {_seconds(self.p95)}): {self.why}"


@dataclass(frozen=True, slots=True)
class Preview:
    """One service. `kind`: what obeying the changes takes; `triggers`: (service, what happens to it and why)."""

    service: str
    kind: Class
    why: str
    changes: tuple[Change, ...] = ()
    triggers: tuple[tuple[str, str], ...] = ()
    downtime: Downtime | None = None
    room: str = ""

    def lines(self) -> Iterator[str]:
        """As people read it."""
        sign = {"start": "+", "remove": "-", "stop": "-", "keep": "!"}.get(self.kind, "~")
        yield f"{sign} {self.service}: {self.kind}{f' ({self.why})' if self.why else ''}"
        for change in self.changes:
            note = f"   [{change.kind}]" if change.kind != self.kind else ""
            yield f"    {change}{note}"
        for name, what in self.triggers:
            yield f"    then {name} {what}"
        if self.downtime:
            yield f"    downtime: {self.downtime}"
        if self.room:
            yield f"    room: {self.room}"


def preview(
    before: Wanted | None, after: Wanted, others: Sequence[Wanted], world: World, times: Mapping[str, Times]
) -> tuple[Preview, ...]:
    """Every service that would not be left as it is, dependencies first."""
    turn = Turn([*others, after], world, 0.0)
    for other in others:
        Scene(turn, other)  # it says which of its containers keep their room
    scene = Scene(turn, after)
    found = {
        name: _service(scene, before, name, times.get(name, Times()))
        for _, name in by_priority([scene])  # that is the order in which they get room
        if scene.runs(name)
    }
    gone = [name for name in (before.active if before else ()) if name not in after.stack.services]
    told = [one for name in scene.order if (one := found.get(name)) is not None]
    return (*told, *(_gone(after, name) for name in sorted(gone)))


def _gone(after: Wanted, name: str) -> Preview:
    if name in after.orphans:
        return Preview(name, "keep", "no longer in the file; --remove-orphans takes it away")
    return Preview(name, "remove", "no longer in the file")


def _service(scene: Scene, before: Wanted | None, name: str, times: Times) -> Preview | None:
    service = scene.services[name]
    old = before.stack.services.get(name) if before else None
    changes = service_changes(old, before.stack, service, scene.stack) if before and old else ()
    slots = scene.slots(name)
    undone = not all(slot.done for slot in slots if slot.container is None)
    missing = max(count(scene.wanted, service) - len(scene.containers.get(name, {})), 0) if undone else 0
    outdated = [slot for slot in slots if slot.outdated]
    kind: Class = max((change.kind for change in changes), key=KINDS.index, default="none")
    if not outdated and kind == "recreate" and not any(slot.container for slot in slots):
        kind = "start"
    elif outdated:
        kind = "recreate"
    elif missing and (kind == "none" or missing == len(slots)):
        kind = "start"
    elif kind == "none":
        return None
    why = _how(scene, service, len(slots), missing, outdated[0].outdated if outdated and not changes else None)
    return Preview(
        name,
        kind,
        why,
        changes,
        tuple(_triggers(scene, name, kind)),
        _downtime(scene, service, times) if kind == "recreate" and name not in scene.blueprint.jobs else None,
        _room(scene, service, missing=missing, renewed=bool(outdated)),
    )


def _how(scene: Scene, service: Service, slots: int, missing: int, outdated: str | None) -> str:
    parts = [outdated] if outdated else []
    wanted = count(scene.wanted, service)
    if missing and missing < slots:
        parts.append(f"{missing} of {wanted} replicas more")
    elif wanted != 1:
        parts.append(f"{wanted} replicas")
    order, said = order_of(service.update, service, scene.stack)
    rolling = scene.rolling(service.name)
    if service.name in scene.blueprint.jobs:
        parts.append("a job: runs once for this change")
    elif rolling:
        parts.append(said or order)
    if service.canary and rolling:
        parts.append(f"first {service.canary} as canary")
    return ", ".join(parts)


def _triggers(scene: Scene, name: str, kind: Class) -> Iterator[tuple[str, str]]:
    """Who follows: restarted after it, and those that follow these."""
    if kind not in ("restart", "recreate"):
        return
    ahead, seen = [name], {name}
    while ahead:
        leader = ahead.pop(0)
        for follower in scene.blueprint.followers.get(leader, ()):
            if follower not in seen and scene.runs(follower):
                seen.add(follower)
                ahead.append(follower)
                place = scene.stack.origin(f"services.{follower}.depends_on.{leader}")
                yield follower, f"is restarted: it follows {leader}{f' ({place})' if place else ''}"


def _downtime(scene: Scene, service: Service, times: Times) -> Downtime:
    replicas = count(scene.wanted, service)
    order, _ = order_of(service.update, service, scene.stack)
    at_once = (service.update.parallelism if service.update else 1) or replicas
    known = f"{len(times.starts)} start{'s' if len(times.starts) != 1 else ''} seen here"
    each = f"ready after {_seconds(_share(times.starts, 0.5))}, {known}" if times.starts else "no start seen here yet"
    if order == "start-first":
        return Downtime(0, 0, f"old replicas serve until new ones are ready ({each})")
    if replicas > at_once:
        return Downtime(0, 0, f"{replicas - at_once} of {replicas} replicas serve meanwhile ({each})")
    if not times.starts:
        return Downtime(None, None, "it has not been started here before")
    stops = times.stops or (0.0,)
    p50, p95 = (_share(stops, part) + _share(times.starts, part) for part in (0.5, 0.95))
    return Downtime(p50, p95, f"stop-first, {known}")


def _share(row: Sequence[float], part: float) -> float:
    """The value below which `part` of a sorted row lies (nearest rank)."""
    return row[max(math.ceil(part * len(row)) - 1, 0)]


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _room(scene: Scene, service: Service, *, missing: int, renewed: bool) -> str:
    """What is left once the services before it have taken their own; "" where nothing is to be placed."""
    room, stack, made = scene.turn.room, scene.stack.name, ""
    for number in range(missing):
        name = f"{stack}-{service.name}-new-{number}"
        if no := refused(scene, service):
            return no
        place = room.find(stack, service, name)
        if isinstance(place, Placed):
            room.take(place.node, stack, service, name)
        elif way := _moved(scene, service, name):
            made = made or way
        else:
            return place.why
    order, _ = order_of(service.update, service, scene.stack)
    if renewed and order == "start-first":
        place = room.find(stack, service, f"{stack}-{service.name}-new")  # one more than there are, for a while
        return f"{place.why} (start-first needs one more for a while)" if isinstance(place, Refused) else "fits"
    return (made or "fits") if missing or renewed else _stays(scene, service)


def _moved(scene: Scene, service: Service, name: str) -> str:
    """Whoever is less important makes room: who that is; "" where it does not help."""
    room, request = scene.turn.room, scene.blueprint.request(service)
    found = evict(room.fleet, request, movable(scene.turn, request.priority).keys())
    if found is None:
        return ""
    gone = [f"{victim} (priority {room.priority(victim)})" for victim in found.victims]
    for victim in found.victims:
        room.fleet.drop(victim)
    room.fleet.put(request, found.node, name)
    return f"fits once {' and '.join(gone)} made room on {found.node} for priority {request.priority}"


def _stays(scene: Scene, service: Service) -> str:
    """What runs is not moved when it reserves more; said where it would find no place on its node any more."""
    for slot in scene.slots(service.name):
        there = slot.container
        if there is None or there.phase != "running":
            continue
        place = scene.turn.room.find(scene.stack.name, service, there.name, stays=there, leaves=there)
        if isinstance(place, Refused):
            return f"{there.name} {place.why} (it goes on where it is, and would not come back)"
    return ""


def text(name: str, revision: tuple[int, int], previews: Sequence[Preview], ground: Sequence[str]) -> str:
    """The whole of it; "" where nothing changes."""
    lines = [line for one in previews for line in one.lines()] + [f"~ {line}" for line in ground]
    if not lines:
        return ""
    old, new = revision
    head = f"{name}: revision {new}" if not old else f"{name}: revision {old}" + (f" → {new}" if new != old else "")
    return "\n".join([head, *lines])


def changed(before: Stack | None, after: Stack) -> bool:
    """Whether anything of the ground differs; services are told by `preview`."""
    return before is None or before.networks != after.networks or before.volumes != after.volumes
