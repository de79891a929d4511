"""A bad version is taken back: what was wanted before becomes the newest revision, and the next turn does the rest.

One write of the store: an agent that dies before it decides the same again, one that dies after it finds it done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.agent import clock
from orchestrator.agent.cards import cards
from orchestrator.agent.going_back import going_back
from orchestrator.reconcile.plan import TakeBack
from orchestrator.reconcile.world import Wanted
from orchestrator.stack.model import Service, Stack

if TYPE_CHECKING:
    from orchestrator.agent.circle import Circle


def take_back(circle: Circle, action: TakeBack) -> None:
    """Raises HostRefused where it cannot be written."""
    wish = circle.wishes.get(action.stack)
    if wish is None or wish.down or wish.proven:
        return
    name, good = action.stack, circle.wishes.history.last_good(action.stack, wish.revision)
    record = circle.containers.named(action.why.partition(":")[0])
    ill = [*action.services, record.service if record else ""]
    because = max(circle.events.latest(name, service) for service in ill)
    subjects = [f"{name}-{service}-1" for service in action.services] or [action.why.partition(":")[0]]
    circle.last_cards[name, wish.revision] = cards(circle, wish, subjects, clock.now())
    circle.wishes.ended(name, "taken back", action.why)
    circle.taken_back[name, wish.revision] = action.why
    if action.services:
        back = _services_back(circle, wish, action.services, good)
    elif good is not None:
        back = going_back(circle.wishes, wish, good, clock.now())
    else:  # nothing was there before it
        circle.wishes.put(replace(wish, down=True))
        circle.events.note("down", name, f"taken back: {action.why}", kind="stack", stack=name, because=because)
        return
    circle.wishes.put(back, f"taken back: {action.why}")
    circle.obey(back)
    why = f"revision {back.revision} takes revision {wish.revision} back: {action.why}"
    circle.events.note("apply", name, why, kind="stack", stack=name, because=because)


def _services_back(circle: Circle, wish: Wanted, services: tuple[str, ...], good: int | None) -> Wanted:
    """Only these services as they were: in the last good revision, else as their old replicas were made."""
    before = circle.wishes.revision(wish.stack.name, good) if good is not None else None
    old = {name: found for name in services if (found := _as_it_was(circle, wish.stack, before, name)) is not None}
    stack = replace(
        wish.stack,
        services={**wish.stack.services, **old},
        networks={**(before.networks if before else {}), **wish.stack.networks},
        volumes={**(before.volumes if before else {}), **wish.stack.volumes},
    )
    revised = circle.wishes.revised(stack)
    retries = {**revised.retries, **dict.fromkeys(services, clock.now())}
    return replace(revised, taken_back=frozenset(services), retries=retries)


def _as_it_was(circle: Circle, present: Stack, before: Stack | None, service: str) -> Service | None:
    if before is not None and service in before.services:
        return before.services[service]
    now = present.services.get(service)
    old = (r.definition for r in circle.containers.of(present.name) if r.service == service and r.definition != now)
    return next(old, None)
