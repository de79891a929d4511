"""The laws, top to bottom: what goes, what stands beneath, then service by service, slot by slot.

Every branch yields one line with its why, or nothing where all is as wanted. A law only looks at the world and at what
was decided before it in this turn; it never remembers and never waits: what cannot be done now is a `Hold`, and the
next turn asks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.health.judge import symptom
from orchestrator.policy.restart import Again, Finished, GaveUp, setback
from orchestrator.reconcile.ground import lay
from orchestrator.reconcile.leaving import leave, stop, take_down
from orchestrator.reconcile.needs import check, reached
from orchestrator.reconcile.plan import Hold, Plan, Remove, Start
from orchestrator.reconcile.replica import count
from orchestrator.reconcile.scene import Met, Scene, Slot, Unmet
from orchestrator.reconcile.turn import Line, Turn
from orchestrator.reconcile.world import Container, Wanted, World
from orchestrator.scheduler.node import Placed, Refused


def reconcile(wanted: Sequence[Wanted], world: World, now: float) -> Plan:
    """What to do now so that the world becomes what is wanted; what is held back and why. `now`: CLOCK_MONOTONIC."""
    turn = Turn(wanted, world, now)
    scenes = [Scene(turn, one) for one in wanted if not one.down]
    turn.note(strangers(turn))
    for one in wanted:
        if one.down:
            turn.note(take_down(turn, one))
    for scene in scenes:
        turn.note(dropped(scene))
        turn.note(stop_by_hand(scene))
        turn.note(lay(scene))
        for service in scene.order:
            turn.note(tend(scene, service))
    return turn.plan()


def strangers(turn: Turn) -> Iterator[Line]:
    """Containers of stacks that nobody knows are left alone. A stack that is taken down outlives its containers, so
    these were forgotten (a lost database) and not given up: only their user can tell."""
    for stack, services in turn.containers.items():
        if stack not in turn.wanted:
            why = f"its stack is not known here any more; 'pyorch -p {stack} down' takes it away"
            for slots in services.values():
                yield from (Hold(container.name, why) for container in slots.values())


def dropped(scene: Scene) -> Iterator[Line]:
    """Services gone from the file whose orphans are not to stay; services scaled to 0 that nobody asked for."""
    gone = [
        container
        for service, slots in scene.containers.items()
        if service not in scene.services or (not scene.active(service) and scene.wanted.scale.get(service) == 0)
        for container in slots.values()
    ]
    if gone:
        why, services, grace = "no longer in the stack", scene.services, scene.wanted.grace
        yield from leave(scene.turn, gone, why, definitions=services, grace=grace, remove=True)


def stop_by_hand(scene: Scene) -> Iterator[Line]:
    """Stopped and kept. One waits for dependents that were stopped with it, not for those that were left running."""
    stopped = [
        slot.container
        for service in scene.order
        if service in scene.wanted.stopped
        for slot in scene.slots(service)
        if slot.container
    ]
    if stopped:
        services, grace = scene.services, scene.wanted.grace
        yield from leave(scene.turn, stopped, "stopped by hand", definitions=services, grace=grace, remove=False)


def tend(scene: Scene, service: str) -> Iterator[Line]:
    """One service. What nobody asked for is not started, and left alone where it runs."""
    if not scene.active(service) or calm(scene, service):
        return
    yield from scale_down(scene, service)
    if service in scene.wanted.stopped:
        return
    # What is to be replaced comes last: it waits for its siblings, so their holds must be known.
    for slot in sorted(scene.slots(service), key=lambda slot: slot.outdated is not None):
        yield from keep(scene, slot)


def calm(scene: Scene, service: str) -> bool:
    """All is as wanted, seen at a glance: most services in most turns."""
    wanted, there = scene.wanted, scene.containers.get(service, {})
    if len(there) != count(wanted, scene.services[service]) or service in scene.shaken:
        return False
    if service in wanted.restarts or service in wanted.recreate or service in scene.blueprint.leaders:
        return False
    digest = scene.digest(service)
    return all(
        c.phase == "running"
        and (c.digest == digest or digest is None)
        and (c.verdict is None or c.verdict.status != "unhealthy")
        for c in there.values()
    )


def scale_down(scene: Scene, service: str) -> Iterator[Line]:
    why = f"scaled down to {len(scene.slots(service))}"
    for container in scene.surplus(service):
        if container.phase == "running":
            yield stop(container, why, scene.wanted.grace)
        else:
            yield Remove(container.name, container.id, why)


def keep(scene: Scene, slot: Slot) -> Iterator[Line]:
    """One slot: is it there? changed? running? ended, and is it time to start again?"""
    container = slot.container
    if not scene.turn.world.busy.isdisjoint((slot.replica.name, container.name if container else "")):
        return
    if container is None:
        yield start(scene, slot, "missing")
    elif slot.outdated:
        yield replace(scene, slot, container, slot.outdated)
    elif container.phase == "running":
        yield from keep_running(scene, slot, container)
    elif container.phase == "created":
        yield start(scene, slot, "not started yet")
    elif slot.restart:
        yield start(scene, slot, slot.restart)
    else:
        yield from start_again(scene, slot)


def start(scene: Scene, slot: Slot, why: str) -> Line:
    """Start it, if what it needs is there, it did not just fail to come up, and there is room."""
    replica, turn = slot.replica, scene.turn
    needs = check(scene, replica.definition)
    if isinstance(needs, Unmet):
        return Hold(replica.name, needs.why, failed=needs.failed, outlook=needs.outlook)
    failure = turn.world.failures.get(replica.name)
    if failure and (until := failure.at + setback(failure.count)) > turn.now:
        return Hold(replica.name, failure.why, until, outlook="failing")
    existing = slot.container
    place = turn.room.find(replica.definition.reservations, stays=existing, leaves=existing)
    if isinstance(place, Refused):
        return Hold(replica.name, place.why, outlook="parked")
    remark = f"; {needs.remark}" if needs.remark else ""
    return Start(replica.name, replica, place.node, why + remark, existing.id if existing else None)


def replace(scene: Scene, slot: Slot, container: Container, why: str) -> Line:
    """Take it away, so that the next turn finds its slot empty. What runs goes on until its successor could start."""
    if container.phase != "running":
        return Remove(container.name, container.id, why)
    ill = container.verdict is not None and container.verdict.status == "unhealthy"
    if not ill and (sibling := in_transit(scene, slot)):
        hold = scene.turn.holds.get(sibling) or Hold(sibling, "")
        reason = f"{why}; waits for {sibling} to be up"
        return Hold(container.name, reason, failed=hold.failed, outlook=hold.outlook)
    needs = check(scene, slot.replica.definition)
    place = scene.turn.room.find(slot.replica.definition.reservations, leaves=container)
    if isinstance(needs, Met) and isinstance(place, Placed):
        return make_way(scene, container, why, f"{container.service} is being replaced")
    scene.stuck.add(container.name)
    if isinstance(needs, Unmet):
        return Hold(container.name, f"{why}; {needs.why}", failed=needs.failed, outlook=needs.outlook)
    return Hold(container.name, f"{why}; {place.why}", outlook="parked")


def in_transit(scene: Scene, slot: Slot) -> str | None:
    """A replica of the same service that is on its way: the next one is touched when this one is up (and healthy)."""
    away = scene.turn.world.busy | scene.touched
    for sibling in scene.slots(slot.replica.service):
        container, name = sibling.container, sibling.replica.name
        old = sibling.outdated and container and container.phase == "running" and name not in away
        if not old and not isinstance(sibling.next, Finished) and (name in away or not up(sibling)):
            return name
    return None


def up(slot: Slot) -> bool:
    """It runs as it should, healthy where it has a check."""
    checked = slot.replica.definition.healthcheck is not None
    return reached(slot, "healthy" if checked else "started")


def keep_running(scene: Scene, slot: Slot, container: Container) -> Iterator[Line]:
    """It is what it should be, and runs: should it go on running?"""
    definition, verdict = slot.replica.definition, container.verdict
    if why := scene.shaken.get(container.service):
        yield make_way(scene, container, why, f"{container.service} is being restarted")
    elif why := slot.restart or _leader_restarted(scene, container):
        scene.touched.add(container.name)
        yield stop(container, why, scene.wanted.grace)
    elif verdict and verdict.status == "unhealthy" and not definition.healthcheck_disabled:
        reason = f"unhealthy: {symptom(verdict)}"
        if not definition.restart.heal:
            yield Hold(container.name, f"{reason} (restart: no)", failed=True)
        else:
            yield stop(container, reason, None, failure=True)


def _leader_restarted(scene: Scene, container: Container) -> str | None:
    """`depends_on.restart`: a dependency was restarted by hand since. As in Compose, a policy's do not count."""
    for leader in scene.blueprint.leaders.get(container.service, ()):
        for other in scene.containers.get(leader, {}).values():
            by_hand = bool(other.exits) and other.exits[-1].cause == "asked"
            newer = (other.started or 0.0) > (container.started or 0.0)
            if other.phase == "running" and by_hand and newer:
                return f"{leader} was restarted"
    return None


def make_way(scene: Scene, container: Container, why: str, follow: str) -> Line:
    """Stop it, so that its successor can take its place. Those that follow its restarts stop before it; they start
    after it because they need it."""
    followers = [name for name in scene.blueprint.followers.get(container.service, ()) if scene.runs(name)]
    present = [
        slot.replica.name
        for name in followers
        for slot in scene.slots(name)
        if slot.replica.name in scene.turn.world.busy or (slot.container and slot.container.phase == "running")
    ]
    if present:
        scene.shaken.update(dict.fromkeys(followers, follow))
        return Hold(container.name, f"{why}; waits for {present[0]} to stop")
    scene.touched.add(container.name)
    return stop(container, why, scene.wanted.grace)


def start_again(scene: Scene, slot: Slot) -> Iterator[Line]:
    """It has ended: what does its policy say?"""
    name, now = slot.replica.name, scene.turn.now
    match slot.next:
        case Again(at, why) if at > now:
            yield Hold(name, why, at)
        case Again(_, why):
            yield start(scene, slot, why)
        case GaveUp(why):
            yield Hold(name, why, failed=True)
        case Finished() | None:
            return
