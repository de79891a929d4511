"""Whether what the user asked for is reached: what `up`, `stop` and `down` wait for, and what they report as failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestrator.health.judge import symptom
from orchestrator.policy.restart import GaveUp, describe
from orchestrator.reconcile.plan import Hold, Plan
from orchestrator.reconcile.scene import Scene
from orchestrator.reconcile.slot import Slot
from orchestrator.reconcile.turn import Turn
from orchestrator.reconcile.world import Container, Wanted, World

Goal: TypeAlias = Literal["started", "ready", "stopped", "down"]


@dataclass(frozen=True, slots=True)
class Settled:
    """`done`: waiting longer changes nothing. `failures` and `pending`: (subject, why). `proven`: the revision is ready
    as a whole.

    With goal "started", what is parked (no room, a dependency stopped by hand) is told as pending but not waited for.
    """

    done: bool
    failures: tuple[tuple[str, str], ...] = ()
    pending: tuple[tuple[str, str], ...] = ()
    proven: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    subject: str
    state: Literal["pending", "parked", "asked", "failed"]
    why: str


def settled(wanted: Wanted, world: World, plan: Plan, goal: Goal) -> Settled:
    """Compare the world with the goal, after `plan` was made of that world. Only active services count."""
    return judged(Scene(Turn([wanted], world, 0.0), wanted), plan, goal)


def judged(scene: Scene, plan: Plan, goal: Goal) -> Settled:
    """`settled`, of a scene whose turn made the plan."""
    match goal:
        case "down":
            answers = list(_down(scene))
        case "stopped":
            answers = list(_stopped(scene))
        case "started" | "ready":
            answers = list(_up(scene, plan, goal == "ready"))
    waits = [a for a in answers if a.state == "pending" or (a.state == "parked" and goal != "started")]
    failures = tuple((a.subject, a.why) for a in answers if a.state == "failed")
    pending = tuple((a.subject, a.why) for a in answers if a.state != "failed")
    proven = goal == "ready" and not waits and not failures and not _old(scene)
    return Settled(not waits, failures, pending, proven)


def _old(scene: Scene) -> bool:
    """Replicas of an older version run: canaries prove nothing for those that have not followed them yet."""
    return any(slot.outdated for service in scene.order if scene.active(service) for slot in scene.slots(service))


def _down(scene: Scene) -> Iterator[_Answer]:
    """Nothing of it is left. What another stack calls its own too is not waited for (see `leaving`)."""
    world, stack = scene.turn.world, scene.stack
    for slots in scene.containers.values():
        yield from (_Answer(c.name, "pending", "still there") for c in slots.values())
    names = {n.name for n in stack.networks.values() if not n.external} & world.networks
    if scene.wanted.remove_volumes:
        names |= {v.name for v in stack.volumes.values() if not v.external and not v.protect} & world.volumes
    for name in sorted(names):
        failure = world.failures.get(name)
        yield _Answer(name, "failed", failure.why) if failure else _Answer(name, "pending", "still there")


def _stopped(scene: Scene) -> Iterator[_Answer]:
    for service in sorted(scene.wanted.stopped):
        for container in scene.containers.get(service, {}).values():
            if container.phase == "running" or container.name in scene.turn.world.busy:
                yield _Answer(container.name, "pending", "still running")


def _up(scene: Scene, plan: Plan, ready: bool) -> Iterator[_Answer]:
    """Slot by slot; then what is still to be taken away or made."""
    holds = {hold.subject: hold for hold in plan.holds}
    actions = {action.subject: action.why for action in plan.actions}
    busy = set(scene.turn.world.busy)
    for service in scene.order:
        for slot in scene.slots(service) if scene.runs(service) else ():
            name = slot.replica.name
            why = actions.pop(name, "being worked at" if name in busy else None)
            busy.discard(name)
            answer = _slot(scene, slot, holds.pop(name, None), why, ready)
            if answer:
                yield answer
    ours = {c.name for slots in scene.containers.values() for c in slots.values()}
    ours |= {thing.name for things in (scene.stack.networks, scene.stack.volumes) for thing in things.values()}
    for subject, why in {**dict.fromkeys(sorted(busy), "being worked at"), **actions}.items():
        if subject in ours:
            yield _Answer(subject, "pending", why)


def _slot(scene: Scene, slot: Slot, hold: Hold | None, doing: str | None, ready: bool) -> _Answer | None:
    """None: this slot is as the goal wants it."""
    name, container = slot.replica.name, slot.present
    if ready and container and (illness := _illness(container)):
        return _Answer(name, "failed", illness)
    if trouble := _trouble(scene, slot):  # before what is being done: trying again is no reason to wait
        return _Answer(name, "failed", trouble)
    if doing:
        return _Answer(name, "pending", doing)
    if isinstance(slot.next, GaveUp) and container:
        # Compose: `up -d` is content when a container with `restart: "no"` has run, whatever its exit code.
        return None if slot.ran and not ready else _Answer(name, "failed", slot.next.why)
    if hold is None and ready and container and container.phase == "running":
        if slot.replica.service in scene.blueprint.jobs:
            return _Answer(name, "pending", "its work is not done yet")
        return _Answer(name, "pending", "starting") if _starting(slot, container) else None
    if hold is None:
        return None
    if hold.failed:
        unwell = container is not None and container.phase == "running"
        return None if unwell and not ready else _Answer(name, "failed", hold.why)
    if hold.outlook == "failing":
        return _Answer(name, "failed", hold.why)
    if not ready and container and hold.until is not None:
        return None  # it was started, it ended, its policy will start it again
    return _Answer(name, hold.outlook if hold.outlook in ("parked", "asked") else "pending", hold.why)


def _starting(slot: Slot, container: Container) -> bool:
    checked = slot.replica.definition.checked or container.verdict is not None
    healthy = container.verdict is not None and container.verdict.status == "healthy"
    return container.phase == "running" and checked and not healthy


def _illness(container: Container) -> str | None:
    """It is unhealthy, or was restarted for that and is not yet healthy again."""
    verdict = container.verdict
    if verdict and verdict.status == "unhealthy":
        return f"unhealthy: {symptom(verdict)}"
    if not (verdict and verdict.status == "healthy") and container.exits and container.exits[-1].cause == "unhealthy":
        return describe(container.exits[-1])
    return None


def _trouble(scene: Scene, slot: Slot) -> str | None:
    """Bringing it up failed, or making what it stands on."""
    names = [slot.replica.name, *(thing.name for thing in scene.blueprint.used(slot.replica.definition))]
    found = (scene.turn.world.failures.get(name) for name in names)
    return next((failure.why for failure in found if failure), None)
