"""What follows an exit: again (when), finished, or given up. Times are seconds."""

from __future__ import annotations

from typing import Literal

import pytest

from orchestrator.policy.restart import Again, Exit, Finished, GaveUp, RestartPolicy, describe, next_start, setback

ALWAYS = RestartPolicy("always")
Cause = Literal["exited", "oom", "unhealthy", "asked"]


def runs(*lengths: float, code: int | None = 1, cause: Cause = "exited") -> tuple[Exit, ...]:
    """Exits of runs that lasted so long, each started 1 s after the end of the former; the first at 100."""
    exits, start = [], 100.0
    for length in lengths:
        exits.append(Exit(start, start + length, code, None, cause))
        start += length + 1
    return tuple(exits)


def wait(policy: RestartPolicy, exits: tuple[Exit, ...], patience: float = 0.0) -> float:
    """Seconds from the last exit to the next start."""
    answer = next_start(policy, exits, exits[-1].at, patience=patience)
    assert isinstance(answer, Again)
    return round(answer.at - exits[-1].at, 6)


@pytest.mark.parametrize(
    ("lengths", "seconds"),
    [
        ([0.0], 0.0),  # the very first failure costs no wait
        ([0.0, 0.0], 0.1),
        ([0.0, 0.0, 0.0], 0.2),
        ([0.0] * 5, 0.8),
        ([0.0] * 10, 25.6),
        ([0.0] * 11, 30.0),
        ([0.0] * 32, 30.0),
        ([0.0, 0.0, 0.0, 10.0], 0.0),  # a good stretch forgets what failed before it
        ([0.0, 0.0, 0.0, 9.9], 0.4),
        ([0.0, 0.0, 10.0, 0.0], 0.1),
    ],
)
def test_each_wait_is_twice_the_former_until_a_good_stretch(lengths: list[float], seconds: float) -> None:
    assert wait(ALWAYS, runs(*lengths)) == seconds


def test_a_written_delay_is_kept_to_every_time() -> None:
    policy = RestartPolicy("always", delay=5.0)
    assert [wait(policy, runs(*[0.0] * n)) for n in (1, 2, 9)] == [5.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("policy", "exits", "answer"),
    [
        (RestartPolicy(), runs(1, code=0), Finished("exited 0")),
        (RestartPolicy(), runs(1, code=3), GaveUp("exited 3 (restart: no)")),
        (RestartPolicy("on-failure"), runs(1, code=0), Finished("exited 0")),
        (RestartPolicy("on-failure"), runs(1, code=3), Again(101, "exited 3 (restart: on-failure)")),
        # Nobody could read the code: it counts as a failure.
        (RestartPolicy("on-failure"), runs(1, code=None), Again(101, "ended unseen (exit code unknown)")),
        # We ended it for its health: a failure, even if it left politely.
        (
            RestartPolicy("on-failure"),
            runs(1, code=0, cause="unhealthy"),
            Again(101, "unhealthy (restart: on-failure)"),
        ),
        (ALWAYS, runs(1, code=0), Again(101, "exited 0 (restart: always)")),
        (RestartPolicy("unless-stopped"), runs(1, code=0), Again(101, "exited 0 (restart: unless-stopped)")),
        (ALWAYS, runs(1, code=137, cause="oom"), Again(101, "out of memory (killed at its limit)")),
        (ALWAYS, runs(1, 1, 1), Again(105.2, "ended 3 times in a row, last exited 1")),
        # An end that was asked for is no failure, and forgets what failed before.
        (ALWAYS, runs(1, code=143, cause="asked"), Again(500, "wanted, and not running")),
        (RestartPolicy(), runs(1, code=143, cause="asked"), Again(500, "wanted, and not running")),
        (ALWAYS, (), Again(500, "wanted, and not running")),
        (
            ALWAYS,
            (*runs(0, 0, 0), Exit(200, 201, 143, None, "asked"), Exit(202, 203, 1)),
            Again(203, "exited 1 (restart: always)"),
        ),
        # At most N restarts since the last good stretch …
        (
            RestartPolicy("on-failure", max_attempts=2),
            runs(0, 0),
            Again(101.1, "ended 2 times in a row, last exited 1"),
        ),
        (
            RestartPolicy("on-failure", max_attempts=2),
            runs(0, 0, 0),
            GaveUp("gave up: restarted 2 times (at most 2), last exited 1"),
        ),
        (RestartPolicy("on-failure", max_attempts=2), runs(0, 0, 20), Again(122, "exited 1 (restart: on-failure)")),
        (
            RestartPolicy("on-failure", max_attempts=0),
            runs(0),
            GaveUp("gave up: restarted 0 times (at most 0), last exited 1"),
        ),
        # … or within the window, however long each run was.
        (
            RestartPolicy("always", max_attempts=2, window=60),
            runs(20, 20, 20),
            GaveUp("gave up: restarted 2 times (at most 2), last exited 1"),
        ),
        (
            RestartPolicy("always", max_attempts=2, window=30),
            runs(20, 20, 20),
            Again(162, "exited 1 (restart: always)"),
        ),
        (RestartPolicy("always", give_up_after=3), runs(0, 0), Again(101.1, "ended 2 times in a row, last exited 1")),
        (
            RestartPolicy("always", give_up_after=3),
            runs(0, 0, 0),
            GaveUp("gave up: failed 3 times in a row, last exited 1"),
        ),
    ],
)
def test_what_follows(policy: RestartPolicy, exits: tuple[Exit, ...], answer: Again | Finished | GaveUp) -> None:
    found = next_start(policy, exits, 500.0)
    assert type(found) is type(answer)
    assert found.why == answer.why
    if isinstance(found, Again) and isinstance(answer, Again):
        assert found.at == pytest.approx(answer.at)


def test_a_service_that_is_never_healthy_backs_off_although_its_runs_are_long() -> None:
    never = runs(90, 90, 90, cause="unhealthy")
    assert wait(ALWAYS, never, patience=90.0) == 0.2
    assert wait(ALWAYS, runs(90, 90, 3600, cause="unhealthy"), patience=90.0) == 0.0


@pytest.mark.parametrize(
    ("exit", "words"),
    [
        (Exit(0, 1, 0), "exited 0"),
        (Exit(0, 1, 137, 9), "killed by SIGKILL"),
        (Exit(0, 1, None, 99), "killed by signal 99"),
        (Exit(0, 1, None), "ended unseen (exit code unknown)"),
        (Exit(0, 1, 137, 9, "oom"), "out of memory (killed at its limit)"),
        (Exit(0, 1, 143, 15, "unhealthy"), "unhealthy"),
    ],
)
def test_how_it_ended_in_words(exit: Exit, words: str) -> None:
    assert describe(exit) == words


def test_setbacks_grow_from_half_a_second_to_half_a_minute() -> None:
    assert [setback(n) for n in (1, 2, 3, 6, 7, 100)] == [0.5, 1.0, 2.0, 16.0, 30.0, 30.0]
