"""All requests at once: an order that packs well, and as few equal nodes as can be found.

The portfolio of `packing` is tried, and the best of it improved by `improve`. Requests that ask for more than room
(constraints, ports, neighbours …) are packed by the fleet itself, the large before the small, on as few nodes as that
takes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.scheduler.classes import room
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.improve import improve
from orchestrator.scheduler.node import Node, Request
from orchestrator.scheduler.packing import FULL, Load, Pattern, heuristics, lower_bound
from orchestrator.scheduler.score import micro

EFFORT = 150_000  # things repacked while improving; some seconds


def fewest(asked: Mapping[str, Request], nodes: Sequence[Node]) -> dict[str, str]:
    """name → node, on as few of the equal `nodes` as can be found. What fits on none of them is left out."""
    one = nodes[0]
    able = {request for request in set(asked.values()) if _fits(request, one)}
    fitting = {name: request for name, request in asked.items() if request in able}
    if not fitting:
        return {}
    if any(not _plain(request) for request in fitting.values()):
        return _by_fleet(fitting, nodes)
    shapes: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, request in fitting.items():
        shapes[micro(request.cpus), request.memory].append(name)
    cpu, memory = room(one)
    load = Load(
        tuple((c / cpu if cpu else 0.0, m / memory if memory else 0.0) for c, m in shapes),
        tuple(map(len, shapes.values())),
    )
    bins = pack(load)
    waiting = list(shapes.values())
    placed: dict[str, str] = {}
    # The fullest bins first, should there be fewer nodes than bins.
    for node, pattern in zip(nodes, sorted(bins, key=lambda p: -_filled(load, p)), strict=False):
        for shape, count in pattern.items():
            names, waiting[shape] = waiting[shape][:count], waiting[shape][count:]
            placed |= dict.fromkeys(names, node.name)
    return placed


def pack(load: Load) -> list[Pattern]:
    """The best packing that the portfolio and its improvement find."""
    bound = lower_bound(load)
    bins: list[Pattern] | None = None
    for found in heuristics(load):
        if bins is None or len(found) < len(bins):
            bins = found
        if len(bins) <= bound:
            return bins
    assert bins is not None
    things = sum(load.counts) / len(bins)
    return improve(load, bins, bound, int(max(EFFORT / max(things, 1.0) / 4, 300)))


def bound(asked: Sequence[Request], nodes: Sequence[Node]) -> int:
    """Fewer nodes than this cannot hold all that is asked; where the nodes differ, the largest ones count."""
    rooms = [room(node) for node in nodes]
    wanted = Counter((micro(request.cpus), request.memory) for request in asked)
    if not rooms or not wanted:
        return 0
    if len(set(rooms)) == 1:
        cpu, memory = rooms[0]
        shapes = {(c / cpu if cpu else 0.0, m / memory if memory else 0.0): n for (c, m), n in wanted.items()}
        fitting = {size: count for size, count in shapes.items() if max(size) <= FULL}
        return lower_bound(Load(tuple(fitting), tuple(fitting.values()))) if fitting else 0
    best = 1
    for d in (0, 1):
        left, count = sum(size[d] * number for size, number in wanted.items()), 0
        for capacity in sorted((one[d] for one in rooms), reverse=True):
            if left <= 0:
                break
            left, count = left - capacity, count + 1
        best = max(best, count)
    return best


def largest_first(asked: Mapping[str, Request], nodes: Sequence[Node]) -> Iterator[list[str]]:
    """Orders of the names that pack well: what can go to few nodes before what can go to many, the large before the
    small. Large: by the larger share of all there is, and by the sum of both."""
    cpus = sum(node.cpus for node in nodes) or 1.0
    memory = sum(node.memory for node in nodes) or 1
    shares = {name: (request.cpus / cpus, request.memory / memory) for name, request in asked.items()}
    for key in (max, sum):
        rank = {n: (-request.priority, _plain(request), -key(shares[n])) for n, request in asked.items()}
        yield sorted(asked, key=rank.__getitem__)


def _by_fleet(asked: Mapping[str, Request], nodes: Sequence[Node]) -> dict[str, str]:
    """The smallest number of nodes on which everything fits, the large before the small; found by halving."""
    order = next(largest_first(asked, nodes))
    low, high = max(bound(list(asked.values()), nodes), 1), len(nodes)
    best = _placed(order, asked, nodes)
    while low < high and len(best) == len(asked):
        middle = (low + high) // 2
        found = _placed(order, asked, nodes[:middle])
        if len(found) == len(asked):
            best, high = found, middle
        else:
            low = middle + 1
    return best


def _placed(order: Sequence[str], asked: Mapping[str, Request], nodes: Sequence[Node]) -> dict[str, str]:
    fleet = Fleet(nodes, Counter(asked.values()).items())
    found = ((name, fleet.place(asked[name], name)) for name in order)
    return {name: node for name, node in found if node is not None}


def _fits(request: Request, node: Node) -> bool:
    return Fleet([node], [(request, 1)]).pick(request) is not None


def _plain(request: Request) -> bool:
    """It asks for room and nothing else."""
    return Request(request.cpus, request.memory, service=request.service, priority=request.priority) == request


def _filled(load: Load, pattern: Pattern) -> float:
    return sum(max(load.sizes[shape]) * count for shape, count in pattern.items())
