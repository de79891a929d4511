"""Filter, then choose, then say why. A new constraint is one function and one row of `FILTERS`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from orchestrator.scheduler.node import Node, Placed, Refused, Request

Filter = Callable[[Request, Node, Request], bool]
SLACK = 1e-9  # cpus are written as decimals: 0.1 + 0.2 must still fit into 0.3


def ready(_asked: Request, node: Node, _used: Request) -> bool:
    return node.ready


def enough_cpu(asked: Request, node: Node, used: Request) -> bool:
    return not asked.cpus or used.cpus + asked.cpus <= node.cpus + SLACK


def enough_memory(asked: Request, node: Node, used: Request) -> bool:
    return not asked.memory or used.memory + asked.memory <= node.memory


# In the order in which they are asked; the text says what is wrong with the nodes that a filter turns away.
FILTERS: Mapping[str, Filter] = {
    "not ready": ready,
    "short of cpus": enough_cpu,
    "short of memory": enough_memory,
}


def place(request: Request, nodes: Sequence[Node], used: Mapping[str, Request]) -> Placed | Refused:
    """The node for `request`; `used` is what is reserved on each node already (by name; missing: nothing)."""
    nothing = Request()
    faults = {node.name: _fault(request, node, used.get(node.name, nothing)) for node in nodes}
    fitting = [node for node in nodes if faults[node.name] is None]
    if not fitting:
        return Refused(_refusal(request, nodes, used, [fault for fault in faults.values() if fault]))
    if len(fitting) == 1:
        return Placed(fitting[0].name, "the only node" if len(nodes) == 1 else "the only node that can take it")
    # Best fit: filling the fullest first keeps whole nodes free for the large requests to come.
    best = max(fitting, key=lambda node: (_fullness(request, node, used), _backwards(node.name)))
    return Placed(best.name, f"best fit: {_fullness(request, best, used):.0%} reserved with it")


def _fault(request: Request, node: Node, used: Request) -> str | None:
    return next((fault for fault, fits in FILTERS.items() if not fits(request, node, used)), None)


def _fullness(request: Request, node: Node, used: Mapping[str, Request]) -> float:
    """Mean share of cpus and memory that is reserved once `request` is there."""
    taken = used.get(node.name, Request())
    cpus = (taken.cpus + request.cpus) / node.cpus if node.cpus else 1.0
    memory = (taken.memory + request.memory) / node.memory if node.memory else 1.0
    return (cpus + memory) / 2


def _backwards(name: str) -> tuple[int, ...]:
    """Makes the alphabetically first name the greatest, so that equals are told apart the same way every time."""
    return tuple(-ord(letter) for letter in name)


def _refusal(request: Request, nodes: Sequence[Node], used: Mapping[str, Request], faults: list[str]) -> str:
    if not nodes:
        return f"needs {_amount(request)}; there is no node"
    candidates = [node for node in nodes if node.ready] or list(nodes)
    nearest = min(candidates, key=lambda node: (_shortage(request, node, used), node.name))
    taken = used.get(nearest.name, Request())
    free = Request(max(nearest.cpus - taken.cpus, 0.0), max(nearest.memory - taken.memory, 0))
    figures = (
        f"{nearest.name} has {_cpus(free.cpus)} cpus and {_size(free.memory)} free"
        f" of {_cpus(nearest.cpus)} and {_size(nearest.memory)}"
        if nearest.ready
        else f"{nearest.name} is not ready"
    )
    if len(nodes) == 1:
        return f"needs {_amount(request)}; {figures}"
    tally = ", ".join(f"{count} {fault}" for fault, count in Counter(faults).items())
    return f"needs {_amount(request)}; of {len(nodes)} nodes {tally}; nearest: {figures}"


def _shortage(request: Request, node: Node, used: Mapping[str, Request]) -> float:
    """How much is lacking, as shares of the node; the nearest fit lacks least."""
    taken = used.get(node.name, Request())
    cpus = max(taken.cpus + request.cpus - node.cpus, 0.0) / (node.cpus or 1.0)
    memory = max(taken.memory + request.memory - node.memory, 0) / (node.memory or 1)
    return cpus + memory


def _amount(request: Request) -> str:
    parts = [f"{_cpus(request.cpus)} {'cpu' if request.cpus == 1 else 'cpus'}"] if request.cpus else []
    parts += [_size(request.memory)] if request.memory else []
    return " and ".join(parts) or "no reserved resources"


def _cpus(cpus: float) -> str:
    return f"{round(cpus, 3):g}"


def _size(count: int) -> str:
    """Bytes as people say them: `512 MiB`, `3.2 GiB`."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{round(count / size, 1):g} {unit}"
    return f"{count} bytes"
