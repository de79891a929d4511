"""Roll-outs: `deploy.update_config` and `deploy.rollback_config`, and the pure function that obeys them, side by side.

The function sees how far a roll-out is (which replicas are of the new version, how each of them does, how many of the
old one are left) and says how many more may be touched now. It remembers nothing: all of that is in the world, so an
agent that died in the middle goes on where it was. Times are seconds of CLOCK_MONOTONIC.

Sources: Compose Specification, deploy.md (the words and their defaults); moby `daemon/cluster` and swarmkit
`manager/orchestrator/update/updater.go` (a worker for each of `parallelism`, which sleeps `delay` after each replica;
failures within `monitor` of a start count; more than `max_failure_ratio` of all replicas is too much).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Order = Literal["stop-first", "start-first"]
FailureAction = Literal["pause", "continue", "rollback"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """`parallelism`: replicas on their way at once, 0 for all. `delay`: seconds from one replica being up to the next.
    `monitor`: an end within so many seconds of its start is a failure of the roll-out."""

    parallelism: int = 1
    delay: float = 0.0
    order: Order = "stop-first"
    monitor: float = 0.0
    max_failure_ratio: float = 0.0
    failure_action: FailureAction = "pause"


@dataclass(frozen=True, slots=True)
class Renewed:
    """A replica of the new version. `since`: when it was up (and healthy); None: not yet. `failure`: what became of it,
    where that counts against the roll-out."""

    name: str
    since: float | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Go:
    """So many more may be touched now."""

    count: int


@dataclass(frozen=True, slots=True)
class Wait:
    """None for now: `name` is on its way, or was up only just now (until `until`)."""

    name: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """None, until somebody asks again."""

    why: str


@dataclass(frozen=True, slots=True)
class Canary:
    """None, until the canaries are promoted."""

    count: int


@dataclass(frozen=True, slots=True)
class Back:
    """The new version is bad: the old one is wanted again."""

    why: str


Step: TypeAlias = Go | Wait | Pause | Canary | Back


def next_step(policy: Rollout, new: Sequence[Renewed], left: int, now: float, *, canaries: int | None = None) -> Step:
    """What a roll-out may do now, of which `new` are renewed and `left` replicas are not.

    `canaries`: so many may be renewed before somebody promotes them; None: all.
    """
    failed = [one for one in new if one.failure is not None]
    if failed and policy.failure_action != "continue" and len(failed) / (len(new) + left) > policy.max_failure_ratio:
        why = _blame(failed, len(new) + left, policy)
        return Back(why) if policy.failure_action == "rollback" else Pause(why)
    moving = [one for one in new if _moving(policy, one, now)]
    free = (policy.parallelism or len(new) + left) - len(moving)
    if moving and free <= 0:
        first = moving[0]
        return Wait(first.name, None if first.since is None else first.since + policy.delay)
    if canaries is not None and len(new) >= canaries:
        return Canary(canaries)
    return Go(min(free, left if canaries is None else min(left, canaries - len(new))))


def _moving(policy: Rollout, one: Renewed, now: float) -> bool:
    """It occupies one of the `parallelism` places. A failure that is tolerated does not."""
    if one.failure is not None:
        return False
    return one.since is None or now < one.since + policy.delay


def _blame(failed: Sequence[Renewed], of: int, policy: Rollout) -> str:
    first = f"{failed[0].name} {failed[0].failure}"
    if len(failed) == 1 and not policy.max_failure_ratio:
        return first
    return f"{len(failed)} of {of} replicas failed (at most {policy.max_failure_ratio:.0%} may), first {first}"
