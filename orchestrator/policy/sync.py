"""Sync: how a stack follows its source. The dataclasses, and the pure function that obeys them, side by side.

Times are seconds since the epoch: what is remembered here must hold over a reboot. A clock that was set back makes a
fetch due at once and delays none.

Where the rules come from: Argo CD and Flux fetch at an interval with jitter, retry with back-off and drop a retry as
soon as there is a newer commit; a commit that keeps failing is set aside and the last good one is kept, so that one bad
merge neither loops for ever nor leaves the stack half made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from orchestrator.units import human_seconds

REMEMBERED = 20  # commits set aside that are remembered; older ones are behind us anyway


@dataclass(frozen=True, slots=True)
class SyncPolicy:
    """How often to look, and what to do with what is found. Durations in seconds."""

    interval: float = 60.0
    jitter: float = 0.1  # share of the interval by which a look is early or late, so that many agents spread out
    automatic: bool = True  # False: a new commit waits for `sync now`
    attempts: int = 3  # of one commit; then it is set aside
    retry: float = 5.0  # before the second attempt, doubled for each after it …
    retry_max: float = 300.0  # … up to this


@dataclass(frozen=True, slots=True)
class Suspension:
    """Nothing is fetched or applied before `until` (None: before `resume`)."""

    since: float
    until: float | None
    why: str


@dataclass(frozen=True, slots=True)
class SyncState:
    """What is known of one source. Kept on the disk: a new agent goes on where the old one was."""

    head: str | None = None  # the newest commit that was seen
    looked: float | None = None  # when the source was last asked …
    trouble: str = ""  # … and what it answered where it could not be read
    live: str | None = None  # the commit that was applied last, well or not
    good: str | None = None  # the last one whose stacks came up whole …
    good_since: float | None = None  # … and when they had
    tries: int = 0  # attempts of `live` in a row that failed
    tried: float | None = None  # when the last attempt ended
    failure: str = ""  # why it failed
    aside: tuple[str, ...] = ()  # commits that are not tried again, oldest first …
    aside_why: str = ""  # … and why the newest of them is not
    asked: bool = False  # somebody said "now": look …
    granted: bool = False  # … and apply what is found, even where that waits for a user or was set aside
    suspended: Suspension | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    why: str


@dataclass(frozen=True, slots=True)
class Apply:
    commit: str
    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (None: before something happens)."""

    until: float | None
    why: str


Step: TypeAlias = Fetch | Apply | Wait
Sync = Literal["Synced", "OutOfSync", "Unknown", "Suspended"]


def next_step(policy: SyncPolicy, state: SyncState, now: float, shift: float) -> Step:
    """What to do for a source. `shift`: a number from -1 to 1, this source's own place within the jitter."""
    if state.suspended and (state.suspended.until is None or now < state.suspended.until):
        return Wait(state.suspended.until, f"suspended: {state.suspended.why}")
    due = _next_look(policy, state, shift)
    if state.asked or state.looked is None or not state.looked <= now < due:
        return Fetch("asked" if state.asked else "never looked" if state.looked is None else "interval")
    if (found := _next_commit(policy, state, now)) is None:
        return Wait(due, "up to date" if state.live == state.head else "waits for `sync now`")
    if isinstance(found, Wait):
        return replace(found, until=min(due, found.until if found.until is not None else due))
    return found


def _next_look(policy: SyncPolicy, state: SyncState, shift: float) -> float:
    return (state.looked or 0.0) + policy.interval * (1 + policy.jitter * shift)


def _next_commit(policy: SyncPolicy, state: SyncState, now: float) -> Apply | Wait | None:
    head = state.head
    if head is None:
        return None
    if state.granted:
        return Apply(head, "asked")
    if head in state.aside:
        if state.good and state.live != state.good:
            return Apply(state.good, f"{head[:8]} failed {policy.attempts} times: back to the last good commit")
        return None
    if state.live != head:
        return Apply(head, "new commit") if policy.automatic else None
    if not state.failure:
        return None
    at = (state.tried or 0.0) + min(policy.retry * 2 ** (state.tries - 1), policy.retry_max)
    if (state.tried or 0.0) <= now < at:  # else the clock was set back since
        return Wait(at, f"attempt {state.tries + 1} of {policy.attempts} in {human_seconds(at - now)}: {state.failure}")
    return Apply(head, f"attempt {state.tries + 1} of {policy.attempts}")


# What becomes of the state. Each of these is written down before anything else is done.


def looked(state: SyncState, now: float, head: str) -> SyncState:
    """The source was read: this is its newest commit."""
    return replace(state, looked=now, head=head, trouble="", asked=False, granted=state.asked or state.granted)


def unreadable(state: SyncState, now: float, why: str) -> SyncState:
    """The source could not be read; what runs goes on."""
    return replace(state, looked=now, trouble=why, asked=False)


def begun(state: SyncState, commit: str) -> SyncState:
    """An attempt of `commit` begins. A newer commit starts with a clean slate."""
    fresh = commit != state.live
    return replace(
        state,
        live=commit,
        granted=False,
        tries=0 if fresh or state.granted else state.tries,
        failure="" if fresh else state.failure,
        aside=tuple(one for one in state.aside if one != commit) if state.granted else state.aside,
    )


def succeeded(state: SyncState, now: float) -> SyncState:
    """The attempt under way brought everything up."""
    since = state.good_since if state.good == state.live and state.good_since is not None else now
    return replace(state, good=state.live, good_since=since, tries=0, tried=now, failure="")


def failed(policy: SyncPolicy, state: SyncState, now: float, why: str) -> SyncState:
    """The attempt under way failed; after `policy.attempts` of them the commit is set aside."""
    tries = state.tries + 1
    aside = state.aside
    if tries >= policy.attempts and state.live and state.live not in aside:
        aside = (*aside, state.live)[-REMEMBERED:]
    aside_why = why if aside != state.aside else state.aside_why
    return replace(state, tries=tries, tried=now, failure=why, aside=aside, aside_why=aside_why)


def verdict(state: SyncState, now: float) -> tuple[Sync, str]:
    """The sync axis of the status, and the sentence beside it. Health is another axis: see the stacks themselves."""
    if state.suspended and (state.suspended.until is None or now < state.suspended.until):
        ends = "" if state.suspended.until is None else f" for {human_seconds(state.suspended.until - now)} more"
        return "Suspended", f"{state.suspended.why}{ends}"
    if state.head is None:
        return "Unknown", state.trouble or "not looked yet"
    note = f"; {state.trouble}" if state.trouble else ""
    if state.head in state.aside:
        kept = f"{state.good[:8]} is kept" if state.good else "there is no good commit to go back to"
        failed = f" ({state.aside_why})" if state.aside_why and state.head == state.aside[-1] else ""
        return "OutOfSync", f"{state.head[:8]} is set aside after failing{failed}: {kept}{note}"
    if state.live != state.head:
        return "OutOfSync", f"{state.head[:8]} waits to be applied{note}"
    if state.failure:
        return "OutOfSync", f"{state.failure}{note}"
    if state.live != state.good:
        return "OutOfSync", f"{state.head[:8]} is being applied{note}"
    return "Synced", f"at {state.head[:8]}{note}"


def mass_removal(before: Sequence[str], after: Sequence[str], share: float = 0.5) -> str | None:
    """Why this change looks like an accident: nothing is left, or more than `share` of the services would go."""
    if not before:
        return None
    gone = sorted(set(before) - set(after))
    if not after:
        return f"it would remove everything ({', '.join(sorted(before))})"
    if len(gone) > share * len(set(before)):
        return f"it would remove {len(gone)} of {len(set(before))} services ({', '.join(gone)})"
    return None
