"""Replicas that leave a node where they could stay: it is drained, or somebody asked for a move (rebalance)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from orchestrator.reconcile.admission import make_room
from orchestrator.reconcile.leaving import drain, stop
from orchestrator.reconcile.plan import Hold
from orchestrator.reconcile.rollout import wait_for
from orchestrator.reconcile.scene import Scene
from orchestrator.reconcile.slot import Slot, up
from orchestrator.reconcile.turn import Line
from orchestrator.reconcile.world import Container
from orchestrator.scheduler.node import Placed


def must_move(scene: Scene, container: Container) -> str | None:
    """Why it cannot stay where it is."""
    if container.node in scene.turn.drained:
        return f"{container.node} is drained"
    target = scene.turn.world.moves.get(container.name)
    return f"moves to {target}" if target is not None and target != container.node else None


def move(scene: Scene, slot: Slot, container: Container, why: str) -> Iterator[Line]:
    """One replica of a service at a time, and only when there is a place for it elsewhere."""
    away = scene.turn.world.busy | scene.touched
    for other in scene.slots(container.service):
        serves = up(replace(other, restart=None))  # one that is to be run anew moves instead
        gone = other.replica.name in away or not (serves or other.finished)
        if other is not slot and gone:
            yield wait_for(scene, container.name, why, other.replica.name)
            return
    place = scene.turn.room.find(container.stack, slot.replica.definition, container.name, leaves=container)
    if not isinstance(place, Placed):
        refused = f"{why}, but there is no other place: {place.why}"
        if container.node in scene.turn.drained:
            yield from make_room(scene, slot.replica.definition, container.name, refused)
        else:
            yield Hold(container.name, refused, outlook="parked")
        return
    if place.node == container.node:
        return  # it was to be moved, and would come back
    scene.touched.add(container.name)
    scene.turn.room.move(container.name, place.node)
    line = stop(container, f"{why}; goes to {place.node}", scene.wanted.grace, drain=drain(scene, container))
    yield replace(line, moved=True)
