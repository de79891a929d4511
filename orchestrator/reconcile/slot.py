"""One place of a service: what belongs there, what is there, and in what state that is."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from orchestrator.health.judge import symptom
from orchestrator.policy.restart import Again, Finished, GaveUp, Next, describe
from orchestrator.policy.rollout import Renewed
from orchestrator.reconcile.replica import Replica
from orchestrator.reconcile.world import Container

Condition = Literal["started", "healthy", "completed"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One place of a service: what belongs there, what is there, and what is wrong with that.

    `outdated`: why the container must be replaced. `restart`: why it must run anew. `next`: what its restart policy
    says, where it has ended. `done`: it is a job that has done its work already, whether or not its container is left.
    """

    replica: Replica
    container: Container | None = None
    outdated: str | None = None
    restart: str | None = None
    next: Next | None = None
    done: bool = False

    @property
    def present(self) -> Container | None:
        """The container, if it is one that may stay as it is."""
        return None if self.outdated or self.restart else self.container

    @property
    def left(self) -> bool:
        """It had to leave its node (drained, or for one of higher priority): its slot is to be filled anew."""
        there = self.container
        return there is not None and there.phase == "exited" and bool(there.exits) and there.exits[-1].cause == "moved"

    @property
    def comes_back(self) -> bool:
        """It has ended, or never ran, and will run again (or its successor will): it keeps its room meanwhile."""
        there = self.container
        if there is None or there.phase == "running" or self.left:
            return False
        return bool(self.outdated or self.restart) or there.phase == "created" or isinstance(self.next, Again)

    @property
    def ran(self) -> bool:
        """It was started, and is over by `restart: "no"`."""
        return isinstance(self.next, GaveUp) and self.replica.definition.restart.condition == "no"

    @property
    def finished(self) -> bool:
        """It has done what it was to do."""
        return self.done or isinstance(self.next, Finished)

    @property
    def ill(self) -> bool:
        there = self.container
        return there is not None and there.verdict is not None and there.verdict.status == "unhealthy"


def reached(slot: Slot, condition: Condition, stuck: Set[str] = frozenset()) -> bool:
    """Whether this replica is in the state that a dependent asks for. One that is to be replaced is not, unless its
    replacement is `stuck`."""
    container = slot.container if slot.replica.name in stuck else slot.present
    if container is None:
        return slot.done and condition != "healthy"
    if condition == "completed":
        return container.phase == "exited" and bool(container.exits) and container.exits[-1].good
    if condition == "started":
        # What was started and is over as it should be has been started: Compose asks no more.
        return container.phase == "running" or isinstance(slot.next, Finished) or slot.ran
    healthy = container.verdict is not None and container.verdict.status == "healthy"
    return container.phase == "running" and healthy


def up(slot: Slot) -> bool:
    """It runs as it should, healthy where it has a check."""
    return reached(slot, "healthy" if slot.replica.definition.checked else "started")


def renewed(slot: Slot, away: Set[str], trouble: str | None, watch: float | None, forgiven: float | None) -> Renewed:
    """How a replica of the new version does. `away`: names that a deed is under way for. `trouble`: why it could not be
    brought up. `forgiven`: failures before this time do not count (somebody asked again). `watch`: seconds from a
    start in which an end counts; None: no failure counts, the roll-out waits for as long as it takes."""
    name, container = slot.replica.name, slot.present
    failure = None if watch is None else trouble or (container and _failure(slot, container, watch, forgiven)) or None
    if container is None or name in away or not up(slot):
        return Renewed(name, None, failure)
    return Renewed(name, container.verdict.since if container.verdict else container.started, failure)


def _failure(slot: Slot, container: Container, watch: float, forgiven: float | None) -> str | None:
    if isinstance(slot.next, GaveUp):
        return slot.next.why
    if slot.ill and container.verdict is not None:
        return f"is unhealthy: {symptom(container.verdict)}"
    for number, exit in enumerate(container.exits, 1):
        young = exit.at - exit.started < watch
        last = number == len(container.exits) and container.phase == "exited"
        counts = exit.cause != "asked" and not exit.good and (forgiven is None or exit.at >= forgiven)
        if counts and (young or last or exit.cause == "unhealthy"):
            return describe(exit)
    return None
