"""How many replicas a roll-out may touch now."""

from __future__ import annotations

import pytest

from orchestrator.policy.rollout import Back, Canary, Go, Pause, Renewed, Rollout, Step, Wait, next_step

UP, STARTING = Renewed("web-1", since=10.0), Renewed("web-2")
BAD = Renewed("web-3", failure="exited 1")


@pytest.mark.parametrize(
    ("policy", "new", "left", "expected"),
    [
        (Rollout(), [], 3, Go(1)),
        (Rollout(), [STARTING], 3, Wait("web-2")),
        (Rollout(), [UP], 3, Go(1)),
        (Rollout(parallelism=2), [UP, STARTING], 3, Go(1)),
        (Rollout(parallelism=4), [], 3, Go(3)),
        (Rollout(parallelism=0), [], 3, Go(3)),
        (Rollout(delay=5), [UP], 3, Wait("web-1", 15.0)),
        (Rollout(delay=1), [UP], 3, Go(1)),
        (Rollout(), [BAD], 3, Pause("web-3 exited 1")),
        (Rollout(failure_action="rollback"), [BAD], 3, Back("web-3 exited 1")),
        (Rollout(failure_action="continue"), [BAD], 3, Go(1)),
        (Rollout(max_failure_ratio=0.25), [BAD], 3, Go(1)),
        (
            Rollout(max_failure_ratio=0.2),
            [BAD, UP],
            2,
            Pause("1 of 4 replicas failed (at most 20% may), first web-3 exited 1"),
        ),
    ],
)
def test_a_roll_out_goes_on_waits_or_ends(policy: Rollout, new: list[Renewed], left: int, expected: Step) -> None:
    assert next_step(policy, new, left, now=12.0) == expected


def test_canaries_go_first_and_alone() -> None:
    assert next_step(Rollout(parallelism=0), [], 5, 0.0, canaries=2) == Go(2)
    assert next_step(Rollout(), [UP], 4, 12.0, canaries=1) == Canary(1)
    assert next_step(Rollout(), [STARTING], 4, 12.0, canaries=1) == Wait("web-2")
    assert next_step(Rollout(), [BAD], 4, 12.0, canaries=1) == Pause("web-3 exited 1")


def test_nothing_left_to_do_is_no_failure() -> None:
    assert next_step(Rollout(parallelism=0), [], 0, 12.0) == Go(0)
