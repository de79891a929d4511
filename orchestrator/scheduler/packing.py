"""Packing things into as few equal bins as possible: the classical heuristics, over shapes and not over things.

A shape is a vector of shares of the bin (each from 0 to 1) and how many things have it. A bin's content is a *pattern*:
shape number → count. Everything is deterministic; nothing here knows of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import sqrt

Vector = tuple[float, ...]
Pattern = dict[int, int]
Choice = Callable[[Vector, Sequence[float], Vector], float]
FULL = 1.0 + 1e-9
LOOKS = 30_000_000  # at things that might go into a bin: half a minute


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be packed: `sizes` as shares of a bin, `counts` of each."""

    sizes: tuple[Vector, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(part > FULL for size in self.sizes for part in size):
            raise ValueError("a thing larger than the bin cannot be packed")

    @property
    def totals(self) -> Vector:
        """The sum of all sizes in each dimension: how many bins it needs at the very least, as a fraction."""
        dimensions = range(len(self.sizes[0])) if self.sizes else ()
        return tuple(
            sum(size[d] * count for size, count in zip(self.sizes, self.counts, strict=True)) for d in dimensions
        )


def heuristics(load: Load) -> Iterator[list[Pattern]]:
    """The packing of each rule of the portfolio; of many things of many shapes only of the first rules: see `LOOKS`."""
    weights = load.totals
    for key in orders(weights):
        yield first_fit(load, key)
    looks = max(sum(load.counts) * len(load.sizes), 1)  # of one rule: each thing chosen among all shapes
    for choose, exponent in islice(_by_bins(), max(LOOKS // looks, 1)):
        yield by_bin(load, choose, None if exponent is None else tuple(weight**exponent for weight in weights))


def _by_bins() -> Iterator[tuple[Choice, float | None]]:
    """(rule, exponent of the weights; None: those of what is still to be packed)."""
    for exponent in (0.0, 1.0, 2.0):
        yield from ((choose, exponent) for choose in (dot, norm, cosine))
    yield from ((choose, None) for choose in (dot, norm))


def orders(weights: Vector) -> Iterator[Callable[[Vector], float]]:
    """Which shape is the largest: by sum, by sum weighted with demand, by its largest part, by square."""
    yield sum
    yield lambda size: sum(part * weight for part, weight in zip(size, weights, strict=True))
    yield max
    yield lambda size: sum(part * part for part in size)


def first_fit(load: Load, key: Callable[[Vector], float]) -> list[Pattern]:
    """First fit decreasing: each shape, the largest first, into the first bins that have room for it."""
    free: list[list[float]] = []
    bins: list[Pattern] = []
    for shape in sorted(range(len(load.sizes)), key=lambda one: -key(load.sizes[one])):
        size, left = load.sizes[shape], load.counts[shape]
        for room, pattern in zip(free, bins, strict=True):
            times = min(left, _times(size, room))
            if times:
                pattern[shape] = times
                left -= times
                for d, part in enumerate(size):
                    room[d] -= part * times
            if not left:
                break
        whole = _times(size, [1.0] * len(size))
        while left:
            times = min(left, whole)
            bins.append({shape: times})
            free.append([1.0 - part * times for part in size])
            left -= times
    return bins


def _times(size: Vector, room: Sequence[float]) -> int:
    """How many things of this size fit into the room."""
    most = 1 << 30
    for part, left in zip(size, room, strict=True):
        if part > 0:
            most = min(most, int((left + 1e-9) / part))
    return max(most, 0)


def dot(size: Vector, room: Sequence[float], weights: Vector) -> float:
    """Tall things into tall rooms."""
    return sum(part * left * weight for part, left, weight in zip(size, room, weights, strict=True))


def norm(size: Vector, room: Sequence[float], weights: Vector) -> float:
    """What leaves least, by the square."""
    return -sum(weight * (left - part) ** 2 for part, left, weight in zip(size, room, weights, strict=True))


def cosine(size: Vector, room: Sequence[float], weights: Vector) -> float:
    """The same direction as the room; weights tilt both."""
    length = sqrt(sum(weight * part * part for part, weight in zip(size, weights, strict=True)))
    return dot(size, room, weights) / length if length else 0.0


def by_bin(load: Load, choose: Choice, weights: Vector | None) -> list[Pattern]:
    """One bin after the other, each filled with what `choose` likes best. `weights` None: what is still to be packed.

    With fixed weights the next bin looks like the last for as long as there is enough of everything in it.
    """
    left = list(load.counts)
    alive = [shape for shape, count in enumerate(left) if count]
    totals = list(load.totals)
    bins: list[Pattern] = []
    while alive:
        now = weights if weights is not None else tuple(totals)
        pattern = fill(load.sizes, left, alive, choose, now)
        times = min(left[shape] // count for shape, count in pattern.items()) if weights is not None else 1
        for shape, count in pattern.items():
            left[shape] -= count * times
            for d, part in enumerate(load.sizes[shape]):
                totals[d] -= part * count * times
        bins += [dict(pattern) for _ in range(times)]
        alive = [shape for shape in alive if left[shape]]
    return bins


def fill(
    sizes: Sequence[Vector],
    left: Sequence[int],
    alive: Sequence[int],
    choose: Choice,
    weights: Vector,
    first: int | None = None,
) -> Pattern:
    """One bin's content; `first`: a shape that it begins with."""
    room = [1.0 - part for part in sizes[first]] if first is not None else [1.0] * len(weights)
    pattern: Pattern = {first: 1} if first is not None else {}
    open_ = list(alive)
    while True:
        open_ = [
            shape
            for shape in open_
            if pattern.get(shape, 0) < left[shape]
            and all(part <= free + 1e-9 for part, free in zip(sizes[shape], room, strict=True))
        ]
        if not open_:
            return pattern
        best = max(open_, key=lambda shape: (choose(sizes[shape], room, weights), -shape))
        pattern[best] = pattern.get(best, 0) + 1
        for d, part in enumerate(sizes[best]):
            room[d] -= part


def lower_bound(load: Load) -> int:
    """No packing needs fewer bins: by volume, and by the things that cannot lie two to a bin.

    The second is Martello and Toth's L2, for each dimension: things above 1 - t stand alone, those above a half too,
    and what is left beside the latter takes in only so much of those from t to a half.
    """
    best = 0
    for d in range(len(load.sizes[0]) if load.sizes else 0):
        pairs = [(size[d], count) for size, count in zip(load.sizes, load.counts, strict=True) if size[d] > 0]
        best = max(best, _up(sum(part * count for part, count in pairs)))
        for t in {part for part, _ in pairs if part <= 0.5}:
            alone = sum(count for part, count in pairs if part > 1 - t)
            halves = [(part, count) for part, count in pairs if 0.5 < part <= 1 - t]
            beside = sum((1 - part) * count for part, count in halves)
            small = sum(part * count for part, count in pairs if t <= part <= 0.5)
            best = max(best, alone + sum(count for _, count in halves) + max(_up(small - beside), 0))
        best = max(best, sum(count for part, count in pairs if part > 0.5))
    return max(best, 1 if load.counts else 0)


def _up(amount: float) -> int:
    return -int(-(amount - 1e-9) // 1)
