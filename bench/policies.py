"""The scores of other schedulers, as plain functions: what ours is measured beside, in the same run.

Each gives a number for a node, the smaller the better, from what would be free there as shares of the node. They are
re-implementations of the scores alone (all feasible nodes are looked at), not the products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.scheduler.node import Node, Request

Score = Callable[[float, float, int], float]  # free cpus and memory after it, as shares; replicas there already


def nomad(cpus: float, memory: float, _count: int) -> float:
    """Nomad's bin-packing (`nomad/structs/funcs.go`)."""
    return float(10.0**cpus + 10.0**memory)


def kubernetes(cpus: float, memory: float, _count: int) -> float:
    """Kubernetes' default: least allocated and balanced allocation."""
    return -(cpus + memory) / 2 - (1 - abs(cpus - memory) / 2)


def swarm(_cpus: float, _memory: float, count: int) -> float:
    """Swarm: fewest tasks; reservations only filter."""
    return float(count)


def first_fit(_cpus: float, _memory: float, _count: int) -> float:
    return 0.0


POLICIES: dict[str, Score] = {"Nomad": nomad, "K8s": kubernetes, "Swarm": swarm, "first fit": first_fit}


class Cluster:
    """Nodes filled by one policy; every node is looked at for every request."""

    def __init__(self, nodes: Sequence[Node], score: Score) -> None:
        self._score = score
        self._size = [(node.cpus, float(node.memory)) for node in nodes]
        self._free = [[node.cpus, float(node.memory)] for node in nodes]
        self._count = [0] * len(nodes)
        self._where: dict[str, tuple[int, Request]] = {}

    def place(self, request: Request, name: str) -> bool:
        best: tuple[float, int] | None = None
        for number, (cpus, memory) in enumerate(self._free):
            left, room = cpus - request.cpus, memory - request.memory
            if left >= -1e-9 and room >= 0:
                size = self._size[number]
                score = self._score(left / size[0], room / size[1], self._count[number])
                if best is None or score < best[0]:
                    best = (score, number)
        if best is None:
            return False
        self._change(best[1], request, -1)
        self._where[name] = (best[1], request)
        return True

    def drop(self, name: str) -> None:
        number, request = self._where.pop(name)
        self._change(number, request, 1)

    def _change(self, number: int, request: Request, sign: int) -> None:
        self._free[number][0] += sign * request.cpus
        self._free[number][1] += sign * request.memory
        self._count[number] -= sign
