"""Nodes in the order of their score, for one kind of request: heaps that are brought up to date when they are asked.

Most nodes of a fleet are alike: same kind, same free cpus and memory. They share a *state*, and a state has one score.
So what is ranked is states (`ByState`), also for requests with ports, a bound per node, devices or neighbours, as long
as these rule out few nodes; else it is the nodes themselves (`ByNode`).
"""

from __future__ import annotations

from collections.abc import Callable, Set
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.scheduler.fleet import Fleet
    from orchestrator.scheduler.want import Want


class ByState:
    """Entries are (score, class, state). States that have come to life since the last question are added then."""

    def __init__(self, fleet: Fleet, want: Want, classes: frozenset[int]) -> None:
        self._fleet, self._want, self._classes = fleet, want, classes
        self._read = len(fleet.births)
        self._inside: set[int] = set()
        self._heap: list[tuple[float, int, int]] = []
        for state in fleet.live:
            self._add(state)
        heapify(self._heap)

    def _add(self, state: int) -> tuple[float, int, int] | None:
        kind, cpu, memory = self._fleet.states[state]
        want = self._want
        if cpu < want.least_cpu or memory < want.least_memory or kind not in self._classes:
            return None
        entry = (self._fleet.score(want, kind, cpu, memory), kind, state)
        self._inside.add(state)
        self._heap.append(entry)
        return entry

    def best(self) -> tuple[float, int] | None:
        """(score, node), the lowest number among equals; None where nothing fits."""
        fleet, heap, inside = self._fleet, self._heap, self._inside
        counts = fleet.counts
        births = fleet.births
        if self._read < len(births):
            want, classes, states = self._want, self._classes, fleet.states
            least_cpu, least_memory = want.least_cpu, want.least_memory
            for state in births[self._read :]:
                if state not in inside and counts[state]:
                    kind, cpu, memory = states[state]
                    if cpu >= least_cpu and memory >= least_memory and kind in classes:
                        inside.add(state)
                        heappush(heap, (fleet.score(want, kind, cpu, memory), kind, state))
            self._read = len(births)
        while heap and not counts[heap[0][2]]:
            inside.discard(heappop(heap)[2])
        if not heap:
            return None
        score, kind, state = heap[0]
        for other in heap[1:3]:
            if other[0] == score and other[1] == kind:
                return score, self._first_of_equals(score, kind)
        return score, fleet.first(state)

    def best_except(self, out: Set[int]) -> tuple[float, int] | None:
        """The same, were the nodes in `out` not there: worse states are looked at until one has another node."""
        found = self.best()
        if found is None or found[1] not in out:
            return found
        fleet, heap, aside = self._fleet, self._heap, []
        best: tuple[float, int, int] | None = None  # score, class, node
        while heap and (best is None or heap[0][:2] == best[:2]):
            entry = heappop(heap)
            score, kind, state = entry
            if not fleet.counts[state]:
                self._inside.discard(state)
                continue
            aside.append(entry)
            node = fleet.first_except(state, out)
            if node is not None:
                best = min(best, (score, kind, node)) if best else (score, kind, node)
        for entry in aside:
            heappush(heap, entry)
        return (best[0], best[2]) if best else None

    def _first_of_equals(self, score: float, kind: int) -> int:
        """States of one class with the very same score: the node with the lowest number is in any of them."""
        equals = []
        while self._heap and self._heap[0][:2] == (score, kind):
            entry = heappop(self._heap)
            if self._fleet.counts[entry[2]]:
                equals.append(entry)
            else:
                self._inside.discard(entry[2])
        for entry in equals:
            heappush(self._heap, entry)
        return min(self._fleet.first(entry[2]) for entry in equals)


class ByNode:
    """Entries are (score, node, state when it was ranked). `shut(node)`: something besides room rules it out.

    What rules a node out only grows while replicas are added; when one is taken away the fleet forgets its rankings.
    """

    def __init__(self, fleet: Fleet, want: Want, classes: frozenset[int], shut: Callable[[int], bool]) -> None:
        self._fleet, self._want, self._classes, self._shut = fleet, want, classes, shut
        self._read = len(fleet.moves)
        entries = (self._entry(node) for node in fleet.members_of(classes))
        self._heap = [entry for entry in entries if entry is not None]
        heapify(self._heap)

    def _entry(self, node: int) -> tuple[float, int, int] | None:
        fleet, want = self._fleet, self._want
        state = fleet.state[node]
        kind, cpu, memory = fleet.states[state]
        if cpu < want.least_cpu or memory < want.least_memory or kind not in self._classes or self._shut(node):
            return None
        return fleet.score(want, kind, cpu, memory), node, state

    def best(self) -> tuple[float, int] | None:
        fleet, heap = self._fleet, self._heap
        for node in dict.fromkeys(fleet.moves[self._read :]):
            entry = self._entry(node)
            if entry is not None:
                heappush(heap, entry)
        self._read = len(fleet.moves)
        while heap and (fleet.state[heap[0][1]] != heap[0][2] or self._shut(heap[0][1])):
            heappop(heap)
        return heap[0][:2] if heap else None
