"""Compose `pull_policy`: when a registry is asked."""

from __future__ import annotations

import pytest

from orchestrator.policy.pull import PullPolicy, due, parse


@pytest.mark.parametrize(
    ("word", "absent", "fresh", "old"),  # is it pulled, where it is not here, is a minute old, is eight days old
    [
        ("missing", True, False, False),
        ("if_not_present", True, False, False),
        ("always", True, True, True),
        ("never", False, False, False),
        ("build", False, False, False),
        ("daily", True, False, True),
        ("weekly", True, False, True),
        ("every_30s", True, True, True),
        ("every_2w", True, False, False),
    ],
)
def test_a_policy_asks_the_registry(word: str, absent: bool, fresh: bool, old: bool) -> None:
    now, day = 1e9, 86400.0
    asked = tuple(due(parse(word), pulled, now) for pulled in (None, now - 60, now - 8 * day))
    assert asked == (absent, fresh, old)


@pytest.mark.parametrize("word", ["", "sometimes", "every_", "every_7", "Always"])
def test_an_unknown_policy_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse(word)


def test_nothing_written_means_missing() -> None:
    assert PullPolicy() == parse("missing")
