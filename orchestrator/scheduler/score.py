"""How good a node is for a request: the smaller the better, and the same number from pure Python and from numpy.

Least added stranding: what is free on a node can only be used as far as its scarcer half reaches, for requests come in
a certain mix (the mean request). The rest is stranded. The node is best whose stranded share grows least; among equals
the one that has least left over (best fit). On nodes of equal shape this is best fit; on nodes of different shapes it
keeps each for those requests that can use it up.
"""

from __future__ import annotations

from dataclasses import dataclass

TIGHTNESS = 0.003  # what a wholly empty node weighs against stranding all of one
CORE = 1_000_000  # cpus are counted in millionths: whole numbers add up without a rest


def micro(cpus: float) -> int:
    return round(cpus * CORE)


@dataclass(frozen=True, slots=True)
class Mix:
    """The mean request beside the largest node, as factors. All 0: nothing is known, and best fit decides alone.

    `ratio`: millionths of a core for each byte of the mean request. `cpu_weight` is negative.
    """

    ratio: float = 0.0
    memory_weight: float = 0.0
    cpu_weight: float = 0.0

    def stranded(self, cpu: float, memory: float) -> float:
        """The share of a largest node that `cpu` and `memory` (millionths of a core, bytes) leave unusable."""
        excess = memory * self.ratio - cpu
        one, other = excess * self.memory_weight, excess * self.cpu_weight
        return one if one > other else other

    def skew(self, other: Mix) -> float:
        """By which factor the ratios of cpus to memory differ (1.0: not at all)."""
        if not self.ratio or not other.ratio:
            return 1.0 if self.ratio == other.ratio else 1e9
        return max(self.ratio / other.ratio, other.ratio / self.ratio)


def mix(cpu: float, memory: float, largest: tuple[int, int]) -> Mix:
    """From the sums over all requests (millionths of a core, bytes), and the largest capacity of any node in either."""
    if cpu <= 0 or memory <= 0 or not largest[0] or not largest[1]:
        return Mix()
    return Mix(cpu / memory, memory / cpu / largest[1], -1.0 / largest[0])
