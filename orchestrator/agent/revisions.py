"""The revisions of a stack: told, compared, and gone back to. Going back is an apply like any other: a new revision
that means what an earlier one meant."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from orchestrator.agent import clock
from orchestrator.agent.circle import Circle
from orchestrator.agent.going_back import going_back, revision_of
from orchestrator.agent.watch import Goal, Progress, watch
from orchestrator.errors import Conflict, Missing, Mistake
from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.difference import difference
from orchestrator.reconcile.world import Wanted


def history(circle: Circle, name: str) -> list[dict[str, Any]]:
    """The kept revisions, the newest first."""
    wish = _wanted(circle, name)
    return [
        {
            "Revision": apply.revision,
            "Time": datetime.fromtimestamp(apply.wall_ns / 1e9, UTC).isoformat(timespec="seconds"),
            "Cause": apply.cause,
            "Outcome": apply.outcome,
            "Why": apply.why,
            "Changes": apply.summary,
            "Present": apply.revision == wish.revision,
        }
        for apply in circle.wishes.history.of(name)
    ]


def compare(circle: Circle, name: str, old: int, new: int) -> dict[str, Any]:
    """What revision `new` has otherwise than `old`; secrets are masked."""
    _wanted(circle, name)
    found = difference(revision_of(circle.wishes, name, old), revision_of(circle.wishes, name, new))
    return {
        "stack": name,
        "old": old,
        "new": new,
        "added": list(found.added),
        "removed": list(found.removed),
        "changed": {service: [change_line(one) for one in changes] for service, changes in found.changed.items()},
        "ground": list(found.ground),
        "text": "\n".join(found.lines()),
    }


def change_line(change: Any) -> dict[str, Any]:
    return {
        "path": change.path,
        "old": change.old,
        "new": change.new,
        "class": change.kind,
        "place": str(change.place) if change.place else None,
        "text": str(change),
    }


async def rollback(
    circle: Circle, name: str, revision: int | None, goal: Goal, timeout: float | None, grace: float | None
) -> Progress:
    """Make what an earlier revision wanted the wanted thing again; None: the last one before this that was ready."""
    began = clock.now()
    wish = _wanted(circle, name)
    if wish.down:
        raise Conflict(f"cannot roll back {name!r}: it is just being taken down")
    chosen = revision if revision is not None else circle.wishes.history.last_good(name, wish.revision)
    if chosen is None:
        raise Missing(
            f"cannot roll back {name!r}: no revision before {wish.revision} was ever ready as a whole; "
            f"name one ('pyorch history' lists them)"
        )
    back = going_back(circle.wishes, wish, chosen, began)
    circle.wishes.put(replace(back, grace=grace), f"rollback to {chosen}")
    circle.obey(back)
    circle.events.note("apply", name, f"revision {back.revision}: rollback to {chosen}", kind="stack", stack=name)
    async for lines in watch(circle, back, goal, began, timeout, set()):
        yield lines


async def promote(circle: Circle, name: str, services: list[str], goal: Goal, timeout: float | None) -> Progress:
    """The rest of the replicas may follow their canaries."""
    began = clock.now()
    wish = _wanted(circle, name)
    unknown = [service for service in services if service not in wish.stack.services]
    if unknown:
        raise Mistake(*(f"no such service: {service}" for service in unknown))
    chosen = [key for key, one in wish.stack.services.items() if one.canary and (not services or key in services)]
    if not chosen:
        raise Mistake(f"cannot promote: none of these services of {name!r} has x-pyorch.canary")
    digests = blueprint(wish.stack).digests
    promoted = replace(wish, promoted={**wish.promoted, **{key: digests[key] for key in chosen}})
    circle.wishes.put(promoted)
    circle.events.note("promote", name, f"asked: {', '.join(sorted(chosen))}", kind="stack", stack=name)
    async for lines in watch(circle, promoted, goal, began, timeout, set(services)):
        yield lines


def _wanted(circle: Circle, name: str) -> Wanted:
    wish = circle.wishes.get(name)
    if wish is None:
        raise Missing(f"cannot find stack {name!r}: it is not up here")
    return wish
