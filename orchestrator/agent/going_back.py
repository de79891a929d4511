"""What is wanted once a stack is as it was in an earlier revision."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.agent.wishes import Wishes
from orchestrator.errors import Missing
from orchestrator.reconcile.difference import difference
from orchestrator.reconcile.world import Wanted
from orchestrator.stack.model import Stack


def going_back(wishes: Wishes, wish: Wanted, revision: int, now: float) -> Wanted:
    """What is wanted once the stack is as in `revision` again. Raises Missing."""
    stack = revision_of(wishes, wish.stack.name, revision)
    asked = next((apply for apply in wishes.history.of(stack.name) if apply.revision == revision), None)
    active = frozenset(asked.active if asked else wish.active) & frozenset(stack.services)
    changed = difference(wish.stack, stack).changed
    return replace(
        wishes.revised(stack),
        active=active or frozenset(stack.services),
        stopped=wish.stopped & active,
        retries={**wish.retries, **dict.fromkeys(active, now)},
        scale=dict(asked.scale) if asked else wish.scale,
        orphans={},  # what the newer revision added goes with it
        taken_back=frozenset(changed),
    )


def revision_of(wishes: Wishes, name: str, revision: int) -> Stack:
    stack = wishes.revision(name, revision)
    if stack is None:
        kept = ", ".join(str(apply.revision) for apply in wishes.history.of(name)) or "none"
        raise Missing(f"cannot find revision {revision} of {name!r}: kept are {kept}")
    return stack
