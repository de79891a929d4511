"""Times in which nothing ran here: what fails right after them is no service's fault."""

from __future__ import annotations

from orchestrator.agent.gaps import GRACE, Gaps


def test_a_machine_that_slept_is_given_time_to_come_round() -> None:
    gaps = Gaps(100.0, 0.0)
    assert gaps.look(100.5, 0.0) is None
    assert not gaps.excuse(100.5)
    told = "the machine slept for 7200 s: checks that fail within the next 15 s do not count"
    assert gaps.look(101.0, 7200.0) == told
    assert gaps.excuse(101.0)
    assert gaps.look(101.5, 7200.0) is None  # told once
    assert gaps.excuse(101.0 + GRACE - 0.1)
    assert not gaps.excuse(101.0 + GRACE)


def test_so_is_one_whose_clock_went_on_while_nothing_ran() -> None:
    gaps = Gaps(100.0, 0.0)
    told = gaps.look(160.5, 0.0)
    assert told is not None
    assert told.startswith("nothing ran here for 60 s")
    assert gaps.excuse(160.5)


def test_a_busy_machine_is_none_that_slept() -> None:
    gaps = Gaps(100.0, 50.0)
    assert gaps.look(103.0, 50.02) is None
    assert not gaps.excuse(103.0)
