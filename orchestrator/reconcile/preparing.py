"""What comes before the first start of a service: its `pre_start` hooks, once for all replicas and each definition."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.policy.restart import setback
from orchestrator.reconcile.admission import make_room
from orchestrator.reconcile.needs import check
from orchestrator.reconcile.plan import Hold, Prepare
from orchestrator.reconcile.scene import Met, Scene
from orchestrator.reconcile.slot import Slot
from orchestrator.reconcile.turn import Line
from orchestrator.scheduler.node import Placed


def prepare(scene: Scene, service: str) -> Iterator[Line]:
    """The `pre_start` hooks, once for all replicas, while those of the older version still serve."""
    definition, turn = scene.services[service], scene.turn
    subject = f"{scene.stack.name}-{service}-pre_start"
    failure = turn.world.failures.get(subject)
    if failure and (until := failure.at + setback(failure.count)) > turn.now:
        yield Hold(subject, failure.why, until, outlook="failing")
    elif isinstance(check(scene, definition), Met):
        place = turn.room.find(scene.stack.name, definition, subject)
        if isinstance(place, Placed):
            replica = scene.blueprint.replica(definition, 0)
            yield Prepare(subject, replica, place.node, "its hooks have not run for this definition")
        else:
            yield from make_room(scene, definition, subject, place.why)


def unprepared(scene: Scene, slot: Slot) -> Hold:
    hold = scene.turn.holds.get(f"{scene.stack.name}-{slot.replica.service}-pre_start")
    why = f"waits for its pre_start hooks{f': {hold.why}' if hold else ''}"
    return Hold(slot.replica.name, why, outlook=hold.outlook if hold else "soon")
