"""What keeps a service well: whose fault an end was, who follows a dependency, and when all of that is to rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.policy.restart import Exit
from orchestrator.reconcile.plan import Hold, Reload, Renew
from orchestrator.reconcile.replica import contents
from orchestrator.reconcile.slot import up
from orchestrator.reconcile.world import Container
from orchestrator.stack.model import Service

if TYPE_CHECKING:
    from orchestrator.reconcile.scene import Scene

AT_ONCE = 1.0  # seconds within which the end of a dependency and that of its dependent are one event


def blameless(scene: Scene, service: Service, exits: tuple[Exit, ...]) -> tuple[Exit, ...]:
    """The ends that a service has to answer for: not those that came while what it needs was down."""
    hard = [name for name, how in service.depends_on.items() if how.required and how.condition != "completed"]
    others = [one for name in hard for one in scene.containers.get(name, {}).values()]
    if not others:
        return exits
    return tuple(
        exit for exit in exits if exit.good or exit.cause == "asked" or not any(_down(o, exit) for o in others)
    )


def _down(other: Container, exit: Exit) -> bool:
    """Whether it was down when `exit` happened, or went down with it."""
    if other.phase == "running":
        ended = other.exits[-1].at if other.exits else None
        away = ended is not None and ended - AT_ONCE <= exit.at and (other.started or 0.0) >= exit.at
        ill = other.verdict is not None and other.verdict.status == "unhealthy" and other.verdict.since <= exit.at
        return away or ill
    last = other.exits[-1] if other.exits else None
    return last is None or (not last.good and last.at - AT_ONCE <= exit.at)


def renew(scene: Scene, container: Container, definition: Service) -> Renew | None:
    """`on_change`: configs or secrets say something else than what the container was given."""
    if not definition.grants:
        return None
    wanted = contents(definition, scene.stack)
    changed = [key for key, digest in wanted.items() if container.contents.get(key, digest) != digest]
    answers = {definition.on_change.to(key.partition(".")[0]) for key in changed}
    if not answers - {"none"}:
        return None
    told = ", ".join(_told(scene, *key.partition(".")[::2]) for key in changed)
    signal = None if "restart" in answers else definition.healing.reload_signal
    return Renew(container.name, container.id, told, signal, definition.stop_grace_period)


def _told(scene: Scene, kind: str, key: str) -> str:
    origin = scene.stack.origin(f"{kind}s.{key}")
    return f"{kind} '{key}' changed" + (f" ({origin})" if origin else "")


def suspension(scene: Scene, service: str) -> tuple[float, str] | None:
    """(until when, why) healing rests; None where it does not."""
    turn = scene.turn
    for key in (service, "*"):
        end, why = scene.wanted.suspended.get(key, (0.0, ""))
        if (until := end - turn.world.slept) > turn.now:
            return until, why
    return None


def resting(scene: Scene, service: str, until: float, reason: str) -> Iterator[Hold]:
    """Nothing is done to it until then, and this is as its user wants it."""
    why = f"suspended{f': {reason}' if reason else ''}"
    names = [*(slot.replica.name for slot in scene.slots(service)), *(one.name for one in scene.surplus(service))]
    yield from (Hold(name, why, until, outlook="asked") for name in names)


def without(scene: Scene, definition: Service) -> str | None:
    """`on_dependency: {down: stop}`: the service that it does not run without, and of which nothing runs."""
    if definition.healing.down == "wait":
        return None
    for name, how in definition.depends_on.items():
        if not how.required or how.condition == "completed" or name in scene.blueprint.jobs or not scene.active(name):
            continue  # it runs without; and what has done its work is not down
        if not any(one.phase == "running" for one in scene.containers.get(name, {}).values()):
            return name
    return None


def to_reload(scene: Scene, container: Container, definition: Service) -> Reload | None:
    """`on_dependency: {restart: reload}`: what it needs has been started anew, and is well again."""
    if definition.healing.restart != "reload":
        return None
    for leader, other in _leaders(scene, definition):
        seen = max(container.started or 0.0, container.reloaded or 0.0)
        well = any(slot.container is other and up(slot) for slot in scene.slots(leader))
        if well and (other.started or 0.0) > seen:
            why = f"{leader} was started anew (on_dependency: reload)"
            return Reload(container.name, container.id, why, definition.healing.reload_signal)
    return None


def leader_restarted(scene: Scene, container: Container, definition: Service) -> str | None:
    """A dependency was started anew since: by hand where `depends_on.restart` says so (as in Compose, a policy's
    restarts do not count), for whatever reason where `on_dependency: {restart: restart}` does."""
    anyhow = definition.healing.restart == "restart"
    by_hand = scene.blueprint.leaders.get(container.service, ())
    for leader, other in _leaders(scene, definition):
        asked = bool(other.exits) and other.exits[-1].cause == "asked"
        newer = (other.started or 0.0) > (container.started or 0.0)
        asked = asked and leader not in scene.wanted.unfollowed
        if other.phase == "running" and newer and (anyhow or (leader in by_hand and asked)):
            return f"{leader} was restarted"
    return None


def _leaders(scene: Scene, definition: Service) -> Iterator[tuple[str, Container]]:
    for name in definition.depends_on:
        if name not in scene.blueprint.jobs:
            yield from ((name, other) for other in scene.containers.get(name, {}).values())
