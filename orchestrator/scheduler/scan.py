"""One look over all nodes, for a request that was not asked before: with numpy where it is installed, else without.

Both give the same node: the sums are the same, in the same order, and numpy's doubles are Python's.
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any

from orchestrator.scheduler.score import TIGHTNESS

if TYPE_CHECKING:
    from orchestrator.scheduler.fleet import Fleet
    from orchestrator.scheduler.want import Want

Found = tuple[float, int] | None


def plainly(fleet: Fleet, want: Want, classes: frozenset[int], out: Set[int]) -> Found:
    """(score, node) of the best node that is not in `out`, state by state."""
    best: Found = None
    for state in fleet.live:
        kind, cpu, memory = fleet.states[state]
        if cpu >= want.least_cpu and memory >= want.least_memory and kind in classes:
            score = fleet.score(want, kind, cpu, memory)
            if best is None or score <= best[0]:
                node = fleet.first_except(state, out) if out else fleet.first(state)
                if node is not None:
                    best = (score, node) if best is None else min(best, (score, node))
    return best


class Columns:
    """The fleet as numpy columns, kept beside it: free cpus and memory, and what is stranded now."""

    def __init__(self, numpy: Any, fleet: Fleet) -> None:
        self._np, self._fleet = numpy, fleet
        count = len(fleet.nodes)
        rows = [fleet.states[state] for state in fleet.state]
        self.cpu = numpy.array([row[1] for row in rows], dtype=float)
        self.memory = numpy.array([row[2] for row in rows], dtype=float)
        self.kind = numpy.array([row[0] for row in rows], dtype=int)
        tight = [fleet.tightness[kind] for kind, _, _ in rows]
        self._cpu_tight = numpy.array([one for one, _ in tight], dtype=float)
        self._memory_tight = numpy.array([one for _, one in tight], dtype=float)
        self._stranded = numpy.array([fleet.mix.stranded(cpu, memory) for _, cpu, memory in rows], dtype=float)
        self._a, self._b, self._c = (numpy.empty(count) for _ in range(3))
        self._masks: dict[frozenset[int], Any] = {}

    def update(self, node: int, cpu: int, memory: int) -> None:
        self.cpu[node] = cpu
        self.memory[node] = memory
        self._stranded[node] = self._fleet.mix.stranded(cpu, memory)

    def best(self, want: Want, classes: frozenset[int], out: Set[int]) -> Found:
        """As `plainly`."""
        np, mix, a, b, c = self._np, self._fleet.mix, self._a, self._b, self._c
        np.subtract(self.memory, want.memory, out=b)
        np.subtract(self.cpu, want.cpu, out=a)
        np.multiply(b, mix.ratio, out=c)
        np.subtract(c, a, out=c)
        score = np.maximum(c * mix.memory_weight, c * mix.cpu_weight)
        np.subtract(score, self._stranded, out=score)
        np.multiply(a, self._cpu_tight, out=a)
        np.multiply(b, self._memory_tight, out=b)
        np.add(a, b, out=a)
        np.add(score, a, out=score)
        score[self.cpu < want.least_cpu] = np.inf
        score[self.memory < want.least_memory] = np.inf
        if len(classes) < len(self._fleet.classes):
            score[self._closed(classes)] = np.inf
        for node in out:
            score[node] = np.inf
        node = int(score.argmin())
        found = float(score[node])
        return None if found == np.inf else (found, node)

    def _closed(self, classes: frozenset[int]) -> Any:
        mask = self._masks.get(classes)
        if mask is None:
            mask = self._masks[classes] = ~self._np.isin(self.kind, list(classes))
        return mask


def tightness(cpu: int, memory: int) -> tuple[float, float]:
    """What each free millionth of a core and each free byte of a node of this size weigh."""
    return TIGHTNESS / 2 / cpu if cpu > 0 else 0.0, TIGHTNESS / 2 / memory if memory > 0 else 0.0


def columns(fleet: Fleet) -> Columns | None:
    """The fleet's columns, where numpy (the extra `fast`) is installed. It is imported by those who need it only."""
    try:
        import numpy
    except ImportError:
        return None
    return Columns(numpy, fleet)
