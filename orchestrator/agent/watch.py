"""Watching a request come true: what is told of each turn until the goal is reached, has failed, or time is over.

Progress is plain dicts ("type": accepted | action | state | hold | done): the same for the command line, for curl and
for a page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any, Literal

from orchestrator.agent import clock
from orchestrator.agent.cards import cards
from orchestrator.agent.circle import Circle, stack_of
from orchestrator.agent.state import service_of, state_of
from orchestrator.errors import HostRefused
from orchestrator.reconcile import settled
from orchestrator.reconcile.plan import Action, Plan
from orchestrator.reconcile.world import Wanted

Progress = AsyncIterator[list[dict[str, Any]]]  # the lines of one turn at a time
Goal = Literal["started", "ready", "stopped", "down"]


async def watch(
    circle: Circle,
    wanted: Wanted,
    goal: Goal,
    began: float,
    timeout: float | None,
    services: set[str],
    warnings: Iterable[str] = (),
) -> Progress:
    """Progress of a stack until the goal is reached, it has failed, or the time is over."""
    with circle.listen() as actions:  # before anything is awaited: no turn is missed
        circle.bell.ring()
        after = circle.turns
        yield [accepted(wanted, warnings)]
        async for lines in _look(circle, wanted, goal, began, timeout, services, actions, after):
            yield lines


async def _look(
    circle: Circle,
    wanted: Wanted,
    goal: Goal,
    began: float,
    timeout: float | None,
    services: set[str],
    actions: list[Action],
    after: int,
) -> Progress:
    said, name = _Said(), wanted.stack.name
    while True:
        left = None if timeout is None else began + timeout - clock.now()
        try:
            while circle.turns == after:
                await circle.turned(left if left is None else max(left, 0.001))
        except TimeoutError:
            yield [_late(circle, name, timeout or 0, began)]
            return
        after = circle.turns
        wish = circle.wishes.get(name)
        if wish is None or wish.down != (goal == "down"):  # what was asked last holds
            back = circle.taken_back.get((name, wanted.revision))
            why = (
                f"{back}; nothing was there before, so all of it was taken down"
                if back
                else "it was taken down meanwhile"
            )
            overruled = [] if goal in ("down", "stopped") else [(name, why)]
            yield [done(began, overruled)]
            return
        plan = only(replace(circle.plan, actions=tuple(actions)), wish)
        actions.clear()
        lines = list(said.new(plan, circle, wish))
        result = settled(wish, circle.world, circle.plan, goal)
        if result.done:
            if goal == "down":
                try:
                    circle.forget(name)
                except HostRefused as error:
                    yield [*lines, done(began, [(name, str(error))])]
                    return
                circle.bell.ring()
            failures = [f for f in result.failures if not services or service_of(f[0], wish) in services]
            if back := circle.taken_back.get((name, wanted.revision)):
                failures.append((name, f"{back}; taken back: what was wanted before is wanted again"))
            if circle.wiring_trouble and goal in ("started", "ready"):
                failures.append((name, circle.wiring_trouble))
            yield [*lines, done(began, failures, _cards(circle, wanted, wish, failures))]
            return
        if lines:
            yield lines


class _Said:
    """What a watcher was told already."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, str]] = {}
        self._holds: dict[str, str] = {}

    def new(self, plan: Plan, circle: Circle, wish: Wanted) -> Iterable[dict[str, Any]]:
        """What changed, then what is done about it, then what came of that already."""
        begun = {action.subject for action in plan.actions}
        causes: list[dict[str, Any]] = []
        effects: list[dict[str, Any]] = []
        present = {}
        for record in circle.containers.of(wish.stack.name):
            present[record.name] = now = state_of(record)
            if self._states.get(record.name) != now:
                cause = record.name in self._states and record.name not in begun
                (causes if cause else effects).append(_state(record.name, record.service, *now))
        yield from causes
        for action in plan.actions:
            yield {"type": "action", **action_line(action)}
        yield from effects
        for name in self._states.keys() - present.keys():
            yield _state(name, service_of(name, wish) or "", "removed", "")
        self._states = present
        for hold in plan.holds:
            # The seconds in a reason change each turn; said once is enough until its words do.
            words = hold.why.partition("(")[0]
            if self._holds.get(hold.subject) != words:
                self._holds[hold.subject] = words
                yield {"type": "hold", "subject": hold.subject, "why": hold.why}


def _state(subject: str, service: str, state: str, health: str) -> dict[str, Any]:
    return {"type": "state", "subject": subject, "service": service, "state": state, "health": health}


def action_line(action: Any) -> dict[str, Any]:
    return {"verb": type(action).__name__.lower(), "subject": action.subject, "why": action.why, "text": str(action)}


def dropped(volume: str, why: str) -> dict[str, Any]:
    """A volume that goes with its container, and of which no plan speaks."""
    return {"type": "action", "verb": "dropvolume", "subject": volume, "why": why, "text": f"drop  {volume}: {why}"}


def only(plan: Plan, wish: Wanted) -> Plan:
    """The part of a plan that is about one stack: its containers, networks and volumes."""
    shared = {network.name for network in wish.stack.networks.values()} | {v.name for v in wish.stack.volumes.values()}
    return Plan(
        tuple(
            action
            for action in plan.actions
            if service_of(action.subject, wish) is not None
            or action.subject in shared
            or stack_of(action) == wish.stack.name
        ),
        tuple(hold for hold in plan.holds if service_of(hold.subject, wish) is not None),
    )


def accepted(wish: Wanted, warnings: Iterable[str]) -> dict[str, Any]:
    return {
        "type": "accepted",
        "stack": wish.stack.name,
        "revision": wish.revision,
        "warnings": list(warnings),
        "services": len(wish.active),
    }


def done(began: float, failures: Iterable[tuple[str, str]], cards: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """`cards`: what is known of the failures, see `agent.cards`."""
    listed = [{"subject": subject, "why": why} for subject, why in failures]
    seconds = round(clock.now() - began, 4)
    return {"type": "done", "ok": not listed, "failures": listed, "cards": list(cards), "seconds": seconds}


def _cards(circle: Circle, wanted: Wanted, wish: Wanted, failures: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Of a revision that was taken back, those that were written when it was."""
    taken = circle.last_cards.get((wanted.stack.name, wanted.revision))
    return taken if taken is not None else cards(circle, wish, (subject for subject, _ in failures), clock.now())


def _late(circle: Circle, name: str, timeout: float, began: float) -> dict[str, Any]:
    """What has failed for good is told with what only is not ready yet: it is often the reason."""
    wish = circle.wishes.get(name)
    amiss: list[tuple[str, str]] = []
    if wish is not None:
        result = settled(wish, circle.world, circle.plan, "ready")
        amiss = [*result.failures, *result.pending]
    told = cards(circle, wish, (subject for subject, _ in amiss), clock.now()) if wish is not None else []
    return done(began, [*amiss, (name, f"application not healthy after {timeout:g}s")], told)
