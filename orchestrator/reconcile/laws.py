"""The laws, top to bottom: what goes, what stands beneath, then service by service, slot by slot.

Every branch yields one line with its why, or nothing where all is as wanted. A law only looks at the world and at what
was decided before it in this turn; it never remembers and never waits: what cannot be done now is a `Hold`, and the
next turn asks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.health.judge import symptom
from orchestrator.policy.restart import Again, Finished, GaveUp, setback
from orchestrator.reconcile import drift, healing, preparing, rollout
from orchestrator.reconcile.admission import by_priority, make_room, refused
from orchestrator.reconcile.gates import all_or_nothing
from orchestrator.reconcile.ground import lay
from orchestrator.reconcile.leaving import drain, leave, stop, take_down
from orchestrator.reconcile.moving import move, must_move
from orchestrator.reconcile.needs import check
from orchestrator.reconcile.plan import Hold, Plan, Remove, Start, Stop
from orchestrator.reconcile.replica import count
from orchestrator.reconcile.scene import Met, Scene, Unmet
from orchestrator.reconcile.slot import Slot
from orchestrator.reconcile.turn import Line, Turn
from orchestrator.reconcile.world import Container, Wanted, World
from orchestrator.scheduler.node import Placed


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
    for scene, service in by_priority(scenes):
        turn.note(tend(scene, service))
    for scene in scenes:
        turn.note(all_or_nothing(scene))
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
        if service not in scene.services or (scene.wanted.scale.get(service) == 0 and not scene.active(service))
        for container in slots.values()
    ]
    if gone:
        why, services, grace = "no longer in the stack", scene.services, scene.wanted.grace
        yield from leave(scene.turn, gone, why, definitions=services, grace=grace, remove=True)


def stop_by_hand(scene: Scene) -> Iterator[Line]:
    """Stopped and kept. One waits for dependents that were stopped with it, not for those that were left running."""
    if not scene.wanted.stopped:
        return
    stopped = [
        slot.container
        for service in scene.order
        if service in scene.wanted.stopped
        for slot in scene.slots(service)
        if slot.container
    ]
    if stopped:
        scene.touched.update(one.name for one in stopped if one.phase == "running")  # nobody is to count on them
        services, grace = scene.services, scene.wanted.grace
        yield from leave(scene.turn, stopped, "stopped by hand", definitions=services, grace=grace, remove=False)


def tend(scene: Scene, service: str) -> Iterator[Line]:
    """One service. What nobody asked for is not started, and left alone where it runs."""
    if not scene.active(service) or calm(scene, service):
        return
    if rest := healing.suspension(scene, service):
        yield from healing.resting(scene, service, *rest)
        return
    yield from scale_down(scene, service)
    if service in scene.wanted.stopped:
        return
    if (rolling := scene.rolling(service)) and (back := rollout.taken_back(scene, service, rolling)):
        yield back
    if scene.unprepared(service):
        yield from preparing.prepare(scene, service)
    for slot in in_turn(scene, scene.slots(service), rolling is not None):
        yield from keep(scene, slot)


def in_turn(scene: Scene, slots: Sequence[Slot], rolling: bool) -> Sequence[Slot]:
    """What is to be replaced or moved comes last: it waits for its siblings, so their holds must be known. What is ill
    makes way in any case, and takes the places of a roll-out before one that serves does."""
    if not (rolling or scene.turn.drained or scene.turn.world.moves):
        return slots

    def rank(slot: Slot) -> tuple[bool, bool, bool]:
        there = slot.container
        runs = there is not None and there.phase == "running" and not slot.outdated
        moves = there is not None and runs and must_move(scene, there) is not None
        return moves, slot.outdated is not None, not slot.ill

    return sorted(slots, key=rank)


def calm(scene: Scene, service: str) -> bool:
    """All is as wanted, seen at a glance: most services in most turns."""
    wanted, there = scene.wanted, scene.containers.get(service, {})
    if len(there) != count(wanted, scene.services[service]) or service in scene.shaken:
        return False
    if service in wanted.restarts or service in wanted.recreate or wanted.suspended:
        return False
    if service not in scene.blueprint.plain:
        return False
    if rollout.watched(scene, scene.services[service]):
        return False
    if any(must_move(scene, container) for container in there.values()):
        return False
    digest = scene.digest(service)
    return all(
        c.phase == "running"
        and (c.digest == digest or digest is None)
        and (c.verdict is None or c.verdict.status != "unhealthy")
        and not (c.bounds_off or c.drifted)
        for c in there.values()
    )


def scale_down(scene: Scene, service: str) -> Iterator[Line]:
    scaled = f"scaled down to {count(scene.wanted, scene.services[service])}"
    for container in scene.surplus(service):
        why = rollout.overtaken(scene, container) or scaled
        if container.phase == "running":
            yield stop(container, why, scene.wanted.grace, drain=drain(scene, container))
        else:
            yield Remove(container.name, container.id, why)


def keep(scene: Scene, slot: Slot) -> Iterator[Line]:
    """One slot: is it there? changed? running? ended, and is it time to start again?"""
    container = slot.container
    if not scene.turn.world.busy.isdisjoint((slot.replica.name, container.name if container else "")):
        return
    if container is not None and slot.left:
        yield Remove(container.name, container.id, "it left its node")
    elif container is None:
        if not slot.done:
            rolling = scene.rolling(slot.replica.service)
            yield from start(scene, slot, rolling.why if rolling and rolling.order == "start-first" else "missing")
    elif slot.outdated and container.phase == "exited" and rollout.stands_still(scene.rolling(slot.replica.service)):
        yield from start_again(scene, rollout.as_it_was(slot, container))
    elif slot.outdated:
        yield replace(scene, slot, container, slot.outdated)
    elif container.phase == "running":
        yield from keep_running(scene, slot, container)
    elif container.phase == "created":
        yield from start(scene, slot, "not started yet")
    elif slot.restart:
        yield from start(scene, slot, slot.restart)
    else:
        yield from start_again(scene, slot)


def start(scene: Scene, slot: Slot, why: str) -> Iterator[Line]:
    """Start it, if what it needs is there, it did not just fail to come up, and there is room."""
    replica, turn, existing = slot.replica, scene.turn, slot.container
    needs = check(scene, replica.definition)
    failure = turn.world.failures.get(replica.name)
    if isinstance(needs, Unmet):
        yield Hold(replica.name, needs.why, failed=needs.failed, outlook=needs.outlook)
    elif absent := healing.without(scene, replica.definition):
        yield Hold(replica.name, f"{absent} is down (on_dependency: stop)")
    elif replica.digest == scene.meant(replica.service) and scene.unprepared(replica.service):
        yield preparing.unprepared(scene, slot)
    elif failure and (until := failure.at + setback(failure.count)) > turn.now:
        yield Hold(replica.name, failure.why, until, outlook="failing")
    elif existing is None and (not_now := refused(scene, replica.definition)):
        yield Hold(replica.name, not_now, outlook="parked")
    else:
        place = turn.room.find(replica.stack, replica.definition, replica.name, stays=existing, leaves=existing)
        if isinstance(place, Placed):
            remark = f"; {needs.remark}" if needs.remark else ""
            id = existing.id if existing else None
            yield Start(replica.name, replica, place.node, why + remark, id, place if place.scores else None)
        elif existing is None:
            yield from make_room(scene, replica.definition, replica.name, place.why)
        else:
            yield start_elsewhere(scene, slot, existing, place.why)


def start_elsewhere(scene: Scene, slot: Slot, ended: Container, why: str) -> Line:
    """Its node has no place for it any more: it makes way for a new one, where another node has. What is being started
    lies nobody knows where as yet: that might be the place it misses."""
    room, definition = scene.turn.room, slot.replica.definition
    if scene.turn.world.busy - {container.name for container in scene.turn.world.containers}:
        return Hold(slot.replica.name, why)
    place = room.find(ended.stack, definition, slot.replica.name, leaves=ended)
    if isinstance(place, Placed):
        room.move(ended.name, place.node, room.asked(ended.stack, definition))
        return Remove(ended.name, ended.id, f"{why}; starts anew on {place.node}")
    return Hold(slot.replica.name, why, outlook="parked")


def replace(scene: Scene, slot: Slot, container: Container, why: str) -> Line:
    """Take it away, so that the next turn finds its slot empty. What runs goes on until its successor could start."""
    if container.phase != "running":
        return Remove(container.name, container.id, why)
    if follow := scene.shaken.get(container.service):  # what it follows makes way: it has to stop before that anyway
        return make_way(scene, container, f"{why}; {follow}", f"{container.service} is being replaced")
    rolling = scene.rolling(container.service)
    assert rolling is not None, "an old replica runs, so its service is being rolled out"
    if rolling.order == "start-first" or (rolling.free <= 0 and (not slot.ill or rollout.stands_still(rolling))):
        return rollout.held(scene, slot, rolling)
    why += f"; {rolling.said}" if rolling.said else ""
    needs = check(scene, slot.replica.definition)
    place = scene.turn.room.find(container.stack, slot.replica.definition, container.name, leaves=container)
    if isinstance(needs, Met) and isinstance(place, Placed):
        if scene.unprepared(container.service):
            return preparing.unprepared(scene, slot)
        line = make_way(scene, container, why, f"{container.service} is being replaced")
        if isinstance(line, Stop):
            rolling.touched.append(container.name)
        return line
    scene.stuck.add(container.name)
    if isinstance(needs, Unmet):
        return Hold(container.name, f"{why}; {needs.why}", failed=needs.failed, outlook=needs.outlook)
    return Hold(container.name, f"{why}; {place.why}", outlook="parked")


def keep_running(scene: Scene, slot: Slot, container: Container) -> Iterator[Line]:
    """It is what it should be, and runs: is it held to its limits, and should it go on running?"""
    definition, verdict = slot.replica.definition, container.verdict
    if container.name in scene.touched:
        return  # it makes room for somebody already
    if container.bounds_off or container.drifted:
        yield from drift.put_right(scene, container, definition)
    if why := scene.shaken.get(container.service):
        yield make_way(scene, container, why, f"{container.service} is being restarted")
    elif why := must_move(scene, container):
        yield from move(scene, slot, container, why)
    elif why := slot.restart or healing.leader_restarted(scene, container, definition):
        scene.touched.add(container.name)
        yield stop(container, why, scene.wanted.grace)
    elif verdict and verdict.status == "unhealthy" and not definition.healthcheck_disabled:
        reason, needs = f"unhealthy: {symptom(verdict)}", check(scene, definition)
        if isinstance(needs, Unmet):  # it is not its fault, and a restart would help nobody
            yield Hold(container.name, f"{reason}; not restarted, for it {needs.why}", outlook=needs.outlook)
        elif not definition.restart.heal:
            yield Hold(container.name, f"{reason}; left so, for its file says restart: no", failed=True)
        else:
            scene.touched.add(container.name)
            yield stop(container, reason, None, failure=True)
    elif absent := healing.without(scene, definition):
        scene.touched.add(container.name)
        yield stop(container, f"{absent} is down (on_dependency: stop)", scene.wanted.grace)
    elif reload := healing.renew(scene, container, definition) or healing.to_reload(scene, container, definition):
        yield reload
    elif rollout.watched(scene, definition):
        seconds = rollout.watch_time(scene, definition)
        if (until := (container.started or 0.0) + seconds) > scene.turn.now:
            yield Hold(container.name, f"watched for {seconds:g}s after its start", until)


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
    return stop(container, why, scene.wanted.grace, drain=drain(scene, container))


def start_again(scene: Scene, slot: Slot) -> Iterator[Line]:
    """It has ended: what does its policy say?"""
    name, now = slot.replica.name, scene.turn.now
    if left := drift.stopped(scene, slot):
        yield left
        return
    match slot.next:
        case Again(at, why) as next if at > now:
            yield Hold(name, why, at, outlook="failing" if next.hopeless else "soon")
        case Again(_, why):
            yield from start(scene, slot, why)
        case GaveUp(why):
            yield Hold(name, why, failed=True)
        case Finished() if job_again(scene, slot):
            yield from start(scene, slot, "asked again (job: always)")
        case Finished() | None:
            return


def job_again(scene: Scene, slot: Slot) -> bool:
    """`job: always` runs once for each time its stack is brought up."""
    container, asked = slot.container, scene.wanted.retries.get(slot.replica.service)
    if slot.replica.definition.job != "always" or asked is None or container is None or not container.exits:
        return False
    return container.exits[-1].at < asked
