"""Making a packing better: some bins are emptied and packed anew, again and again, and what is not worse is kept.

Deterministic: the dice are seeded, and the effort is counted in steps and not in seconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import exp

from orchestrator.scheduler.packing import Choice, Load, Pattern, Vector, dot, fill, norm

SEED = 1


def improve(load: Load, bins: Sequence[Pattern], target: int, steps: int) -> list[Pattern]:
    """A packing of at most as many bins. Stops at `target` bins or after so many `steps`."""
    dice = random.Random(SEED)
    weights = load.totals
    packed = [dict(pattern) for pattern in bins]
    slack = [_slack(load, pattern, weights) for pattern in packed]
    for _ in range(steps):
        if len(packed) <= target:
            break
        chosen = _choose(dice, slack)
        before = [packed[one] for one in chosen]
        after = _again(dice, load, before, weights)
        if len(after) > len(before):
            continue
        new = [_slack(load, pattern, weights) for pattern in after]
        # Slack in one place is worth more than the same slack spread out: one day a bin is empty.
        if len(after) == len(before) and sum(s * s for s in new) < sum(slack[one] ** 2 for one in chosen) - 1e-12:
            continue
        for one in sorted(chosen, reverse=True):
            packed[one], slack[one] = packed[-1], slack[-1]
            packed.pop()
            slack.pop()
        packed += after
        slack += new
    return packed


def _choose(dice: random.Random, slack: Sequence[float]) -> list[int]:
    """A few bins: one of the emptier ones, and any others."""
    count = min(len(slack), dice.randint(2, 6))
    emptier = max(dice.sample(range(len(slack)), min(len(slack), 8)), key=slack.__getitem__)
    others = dice.sample(range(len(slack)), count)
    return list(dict.fromkeys([emptier, *others]))[:count]


def _again(dice: random.Random, load: Load, before: Sequence[Pattern], weights: Vector) -> list[Pattern]:
    """The things of some bins, packed by a rule whose weights are thrown."""
    things: dict[int, int] = {}
    for pattern in before:
        for shape, count in pattern.items():
            things[shape] = things.get(shape, 0) + count
    shapes = sorted(things)
    sizes, left = [load.sizes[shape] for shape in shapes], [things[shape] for shape in shapes]
    choose: Choice = dice.choice((dot, norm))
    tilted = tuple(weight * exp(dice.gauss(0.0, 0.6)) for weight in weights)
    result: list[Pattern] = []
    alive = list(range(len(shapes)))
    while alive and len(result) <= len(before):
        first = dice.choice(alive) if dice.random() < 0.3 else None
        pattern = fill(sizes, left, alive, choose, tilted, first)
        for shape, count in pattern.items():
            left[shape] -= count
        alive = [shape for shape in alive if left[shape]]
        result.append({shapes[shape]: count for shape, count in pattern.items()})
    return result if not alive else [*result, {}]


def _slack(load: Load, pattern: Pattern, weights: Vector) -> float:
    """What is free in a bin, in all dimensions, weighted with demand."""
    total = sum(weights) or 1.0
    used = sum(
        sum(part * weight for part, weight in zip(load.sizes[shape], weights, strict=True)) * count
        for shape, count in pattern.items()
    )
    return 1.0 - used / total
