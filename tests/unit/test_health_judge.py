"""What a row of check results means, and when to look again. Times are seconds after the start of the run."""

from __future__ import annotations

import pytest

from orchestrator.health.check import Check, Result, Verdict
from orchestrator.health.judge import judge, next_probe, patience, symptom

STARTED = 1000.0
USUAL = Check(("CMD", "true"), interval=2.0, retries=3)
SLOW = Check(("CMD", "true"), interval=2.0, retries=3, start_period=20.0, start_interval=1.0)


def after(check: Check, *results: tuple[float, int | None]) -> Verdict:
    """The verdict after results at so many seconds."""
    verdict = None
    for at, code in results:
        verdict = judge(check, verdict, Result(STARTED + at, code, f"at {at}"), STARTED)
    assert verdict is not None
    return verdict


@pytest.mark.parametrize(
    ("check", "results", "status", "failing"),
    [
        (USUAL, [(0.01, 0)], "healthy", 0),
        (USUAL, [(0.01, 1)], "starting", 0),
        # Three failures within a second: Docker would not even have looked. Nobody is condemned for our haste.
        (USUAL, [(0.1, 1), (0.2, 1), (0.4, 1), (0.8, 1)], "starting", 0),
        (USUAL, [(2.0, 1), (4.0, 1), (6.0, 1)], "unhealthy", 3),
        (USUAL, [(0.1, 1), (2.0, 1), (2.2, 1), (4.0, 1), (6.1, 1)], "unhealthy", 3),
        (USUAL, [(0.1, 1), (0.2, 1), (6.1, 1)], "starting", 1),
        (USUAL, [(5.0, 1), (6.1, 1)], "starting", 2),
        (USUAL, [(0.1, 1), (0.2, 1), (0.4, 0)], "healthy", 0),
        # A check that did not end in time has failed.
        (USUAL, [(2.0, None), (4.0, None), (6.0, None)], "unhealthy", 3),
        # Failures before the end of the start period do not count, a success does.
        (SLOW, [(5.0, 1), (10.0, 1), (15.0, 1), (19.9, 1)], "starting", 0),
        (SLOW, [(5.0, 1), (6.0, 0)], "healthy", 0),
        (SLOW, [(20.1, 1), (20.2, 1), (20.3, 1)], "starting", 1),
        (SLOW, [(20.1, 1), (22.1, 1), (24.1, 1)], "unhealthy", 3),
        # Once healthy, the start period is over, whatever the clock says.
        (SLOW, [(1.0, 0), (2.0, 1), (4.0, 1), (6.0, 1)], "unhealthy", 3),
        # Health is lost after `retries` failures in a row, not before.
        (USUAL, [(0.1, 0), (2.0, 1), (4.0, 1)], "healthy", 2),
        (USUAL, [(0.1, 0), (2.0, 1), (4.0, 1), (6.0, 0), (8.0, 1)], "healthy", 1),
        (USUAL, [(0.1, 0), (2.0, 1), (4.0, 1), (6.0, 1)], "unhealthy", 3),
        # One success is enough to come back.
        (USUAL, [(2.0, 1), (4.0, 1), (6.0, 1), (8.0, 0)], "healthy", 0),
        (Check(("CMD", "x"), interval=30.0, retries=1), [(0.0, 1), (29.0, 1)], "starting", 0),
        (Check(("CMD", "x"), interval=30.0, retries=1), [(0.0, 1), (30.0, 1)], "unhealthy", 1),
    ],
)
def test_a_row_of_results(check: Check, results: list[tuple[float, int | None]], status: str, failing: int) -> None:
    verdict = after(check, *results)
    assert (verdict.status, verdict.failing, verdict.probes) == (status, failing, len(results))


def test_a_condemned_container_has_failed_as_often_as_its_check_allows_and_no_more() -> None:
    check = Check(("CMD", "x"), interval=1.0, retries=2)
    verdict, at = None, 0.0
    while verdict is None or verdict.status == "starting":
        verdict = judge(check, verdict, Result(STARTED + at, 1, "no route"), STARTED)
        at = next_probe(check, verdict, STARTED) - STARTED
    assert symptom(verdict) == "2 checks failed in a row: no route"
    assert verdict.probes > 4  # the first looks come at once, and do not count
    assert verdict.since == STARTED + patience(check)


def test_what_failed_while_everything_stood_still_says_nothing() -> None:
    well = judge(USUAL, None, Result(STARTED + 1, 0), STARTED)
    ill = well
    for at in (7200, 7201, 7202, 7203):
        ill = judge(USUAL, ill, Result(STARTED + at, None), STARTED, excused=True)
    assert (ill.status, ill.failing) == ("healthy", 0)
    assert judge(USUAL, ill, Result(STARTED + 7210, 1), STARTED).failing == 1


def test_since_is_when_the_status_began_not_when_it_was_last_confirmed() -> None:
    assert after(USUAL, (1.0, 1)).since == STARTED
    assert after(USUAL, (1.0, 0), (3.0, 0), (5.0, 1)).since == STARTED + 1
    assert after(USUAL, (2.0, 1), (4.0, 1), (6.0, 1), (8.0, 1)).since == STARTED + 6


def test_the_last_output_is_kept_as_far_as_docker_keeps_it() -> None:
    verdict = judge(USUAL, None, Result(STARTED, 1, "x" * 10_000), STARTED)
    assert verdict.last is not None
    assert len(verdict.last.output) == 4096


@pytest.mark.parametrize(
    ("check", "seconds"),
    [
        (USUAL, 6.0),  # Docker looks at 2, 4 and 6 s
        (SLOW, 24.0),  # failures count from 20 s on: 20, 22, 24
        (Check(("CMD", "x"), interval=5.0, retries=1, start_period=0.5), 5.0),  # first look at start_interval, 5 s
    ],
)
def test_patience_is_the_earliest_that_docker_could_condemn(check: Check, seconds: float) -> None:
    assert patience(check) == seconds


def looks(check: Check, until: float) -> list[float]:
    """When a check that always fails is run, in seconds after the start."""
    verdict, at, times = None, next_probe(check, None, STARTED), []
    while at <= STARTED + until:
        times.append(round(at - STARTED, 3))
        verdict = judge(check, verdict, Result(at, 1), STARTED)
        at = next_probe(check, verdict, STARTED)
    return times


def test_the_first_looks_come_at_once_and_then_ever_further_apart() -> None:
    assert looks(USUAL, 1.3) == [0.0, 0.02, 0.06, 0.14, 0.3, 0.62, 1.26]


def test_no_look_that_docker_would_have_taken_is_left_out() -> None:
    assert {2.0, 4.0, 6.0} <= set(looks(USUAL, 7.0))
    assert {float(second) for second in range(1, 20)} <= set(looks(SLOW, 20.0))


def test_after_the_first_looks_there_is_one_an_interval() -> None:
    late = [at for at in looks(Check(("CMD", "x"), interval=2.0, retries=100), 60.0) if at > 10]
    assert late == [float(at) for at in range(12, 61, 2)]


def test_a_settled_container_is_looked_at_once_an_interval() -> None:
    verdict = after(USUAL, (0.5, 0))
    assert next_probe(USUAL, verdict, STARTED) == STARTED + 2.5


def test_a_verdict_without_a_result_is_due_at_once() -> None:
    assert next_probe(USUAL, Verdict("starting", STARTED), STARTED) == STARTED


def test_of_a_traceback_the_line_that_names_the_error_is_told() -> None:
    said = "Traceback (most recent call last):\n  File x, line 1\nConnectionRefusedError: [Errno 111] refused\n"
    verdict = judge(USUAL, Verdict("healthy", STARTED), Result(STARTED + 9, 1, said), STARTED)
    assert symptom(verdict) == "its check failed: ConnectionRefusedError: [Errno 111] refused"
