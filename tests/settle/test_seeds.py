"""Thousands of random worlds from their seeds (see `game`): whatever happens, no rule of the house is broken, and when
all troubles have ended everything is as it is wanted.

PYORCH_SEEDS=N plays N seeds (500; `make test`: 5000); PYORCH_SEED=N plays only that one, and prints its history where
it fails.
"""

from __future__ import annotations

import os

import many

SEEDS = int(os.environ.get("PYORCH_SEEDS", "500"))


def test_random_worlds_end_as_they_are_wanted_and_break_no_rule_on_the_way() -> None:
    chosen = os.environ.get("PYORCH_SEED")
    wrong = many.play([int(chosen)] if chosen else range(SEEDS))
    assert not wrong, f"{len(wrong)} worlds went wrong\n\n" + "\n\n".join(wrong[:3])


def test_a_world_is_the_same_each_time_it_is_played() -> None:
    """Else a seed would be no way back to a mistake."""
    played = [many.game.Game(7) for _ in range(2)]
    for game in played:
        game.play()
    first, second = (game.toy.told(1000) for game in played)
    assert first == second
