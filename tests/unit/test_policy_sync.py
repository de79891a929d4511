"""How a stack follows its source: given a state and a time, the next step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.policy import sync
from orchestrator.policy.sync import Apply, Fetch, Suspension, SyncPolicy, SyncState, Wait, mass_removal, next_step

POLICY = SyncPolicy(interval=60, jitter=0.1, attempts=3, retry=5)
A, B = "a" * 40, "b" * 40
GOOD = SyncState(head=A, looked=100.0, live=A, good=A)


def test_a_new_source_is_looked_at_and_its_commit_applied() -> None:
    assert next_step(POLICY, SyncState(), 0, 0) == Fetch("never looked")
    seen = sync.looked(SyncState(), 1, A)
    assert next_step(POLICY, seen, 1, 0) == Apply(A, "new commit")
    done = sync.succeeded(sync.begun(seen, A), 2)
    assert (done.good, done.live) == (A, A)
    assert next_step(POLICY, done, 2, 0) == Wait(61, "up to date")


@pytest.mark.parametrize(("shift", "due"), [(-1, 154), (0, 160), (1, 166)])
def test_the_interval_has_its_jitter(shift: float, due: float) -> None:
    assert next_step(POLICY, GOOD, 101, shift) == Wait(due, "up to date")
    assert next_step(POLICY, GOOD, due, shift) == Fetch("interval")


def test_a_clock_that_was_set_back_delays_no_look() -> None:
    assert next_step(POLICY, GOOD, 50, 0) == Fetch("interval")


def test_a_clock_that_was_set_back_delays_no_attempt() -> None:
    state = sync.failed(POLICY, sync.begun(replace(GOOD, head=B), B), 90_000, "web: exited")
    assert next_step(POLICY, sync.looked(state, 50, B), 50, 0) == Apply(B, "attempt 2 of 3")


def test_a_commit_that_fails_is_tried_again_ever_later_then_set_aside_for_the_last_good_one() -> None:
    state = sync.begun(replace(GOOD, head=B), B)
    state = sync.failed(POLICY, state, 101, "web: exited")
    assert next_step(POLICY, state, 102, 0) == Wait(106, "attempt 2 of 3 in 4s: web: exited")
    assert next_step(POLICY, state, 106, 0) == Apply(B, "attempt 2 of 3")
    state = sync.failed(POLICY, sync.begun(state, B), 107, "web: exited")
    assert next_step(POLICY, state, 116, 0) == Wait(117, "attempt 3 of 3 in 1s: web: exited")
    state = sync.failed(POLICY, sync.begun(state, B), 118, "web: exited")
    assert state.aside == (B,)
    assert next_step(POLICY, state, 119, 0) == Apply(A, "bbbbbbbb failed 3 times: back to the last good commit")
    back = sync.succeeded(sync.begun(state, A), 120)
    assert next_step(POLICY, back, 121, 0) == Wait(160, "waits for `sync now`")
    why = "bbbbbbbb is set aside after failing (web: exited): aaaaaaaa is kept"
    assert sync.verdict(back, 121) == ("OutOfSync", why)


def test_a_newer_commit_cancels_the_retry() -> None:
    state = sync.failed(POLICY, sync.begun(replace(GOOD, head=B), B), 101, "no")
    newer = sync.looked(state, 102, "c" * 40)
    assert next_step(POLICY, newer, 102, 0) == Apply("c" * 40, "new commit")
    assert sync.begun(newer, "c" * 40).tries == 0


def test_a_manual_source_waits_until_somebody_says_now() -> None:
    manual = replace(POLICY, automatic=False)
    seen = sync.looked(GOOD, 101, B)
    assert isinstance(next_step(manual, seen, 102, 0), Wait)
    asked = replace(seen, asked=True)
    assert next_step(manual, asked, 102, 0) == Fetch("asked")
    assert next_step(manual, sync.looked(asked, 103, B), 103, 0) == Apply(B, "asked")


def test_now_tries_a_commit_that_was_set_aside_again_with_a_clean_slate() -> None:
    state = replace(GOOD, head=B, live=B, aside=(B,), tries=3, failure="no", asked=True)
    begun = sync.begun(sync.looked(state, 101, B), B)
    assert (begun.aside, begun.tries) == ((), 0)


def test_a_suspension_ends_by_itself() -> None:
    state = replace(GOOD, suspended=Suspension(100, 200, "freeze"))
    assert next_step(POLICY, state, 150, 0) == Wait(200, "suspended: freeze")
    assert sync.verdict(state, 150) == ("Suspended", "freeze for 50s more")
    assert next_step(POLICY, state, 200, 0) == Fetch("interval")


def test_a_source_that_does_not_answer_changes_nothing_of_what_runs() -> None:
    state = sync.unreadable(GOOD, 160, "no route")
    assert (state.live, state.good) == (A, A)
    assert sync.verdict(state, 160) == ("Synced", "at aaaaaaaa; no route")


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (["a", "b"], ["a"], None),
        (["a", "b", "c"], ["a"], "it would remove 2 of 3 services (b, c)"),
        (["a"], [], "it would remove everything (a)"),
        ([], ["a"], None),
        (["a", "b"], ["a", "b", "c"], None),
    ],
)
def test_a_mass_removal_is_an_accident_until_somebody_says_otherwise(
    before: list[str], after: list[str], why: str | None
) -> None:
    assert mass_removal(before, after) == why
