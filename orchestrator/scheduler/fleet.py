"""All nodes and what lies on them, indexed for the question "where does this go?": exact, over all nodes, no scan.

`pick` answers, `put` and `drop` change. Nodes of one *class* differ in name and load only; nodes of one *state* are of
one class and have the same room left. See `ranking` for how states are kept in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from functools import partial
from heapq import heappop, heappush

from orchestrator.scheduler import scan
from orchestrator.scheduler.classes import by_class, room
from orchestrator.scheduler.load import Load, Occupant, load
from orchestrator.scheduler.neighbours import Neighbours
from orchestrator.scheduler.node import Node, Request
from orchestrator.scheduler.ranking import ByNode, ByState
from orchestrator.scheduler.score import CORE, Mix, mix
from orchestrator.scheduler.want import Domain, Want, want

Rank = tuple[float, float, int]  # preferences against, score, number of the node: the smallest is best
SKEW = 1.005  # the mean request is taken anew when cpus to memory differ by more than this factor
KEPT = 2000  # rankings
FAST_FROM = 100  # states, or kinds of requests: with fewer, numpy is no faster
FEW = 200  # nodes: if more are ruled out for a request it has a ranking of its own


class Fleet:
    """`nodes`: numbered by class, then name; that is the order among equals. `names`: node name → number.

    `states`: (class, free millionths of a core, free bytes); `state`: that of each node; `counts`: nodes in each;
    `live`: states that some node is in; `births`, `moves`: states that came to life, nodes that changed, in order.
    """

    def __init__(
        self, nodes: Iterable[Node], expected: Iterable[tuple[Request, int]] | None = None, *, fast: bool = True
    ) -> None:
        """`expected`: the requests to come and how many of each, as far as they are known; None: their mean is learnt
        from those that come. `fast`: use numpy where it is installed; the answers are the same.
        """
        self.nodes, kinds = by_class(nodes)
        self.names = {node.name: number for number, node in enumerate(self.nodes)}
        self._starts = [kinds.index(kind) for kind in range(kinds[-1] + 1)] if kinds else []
        self._starts.append(len(kinds))
        self.classes = [self.nodes[kinds.index(kind)] for kind in range(kinds[-1] + 1)] if kinds else []
        rooms = [room(node) for node in self.classes]
        self.tightness = [scan.tightness(*room) for room in rooms]
        self._largest = (max((r[0] for r in rooms), default=0), max((r[1] for r in rooms), default=0))
        self.mix = Mix()
        self.states: list[tuple[int, int, int]] = []
        self.state: list[int] = []
        self.counts: list[int] = []
        self.live: dict[int, None] = {}
        self.births: list[int] = []
        self.moves: list[int] = []
        self._ids: dict[tuple[int, int, int], int] = {}
        self._members: list[list[int]] = []
        self.occupants: list[dict[str, Request]] = [{} for _ in self.nodes]
        self.where: dict[str, int] = {}
        self._around = Neighbours(self.nodes)
        self._wants: dict[Request, Want] = {}
        self._domains: dict[object, tuple[Domain, ...]] = {}
        self._by_state: dict[object, ByState] = {}
        self._by_nodes: dict[object, ByNode] = {}
        self._asked_once: set[object] = set()
        self._fast = fast and len(self.nodes) >= FAST_FROM
        self._columns: scan.Columns | None = None
        for number, kind in enumerate(kinds):
            self._enter(number, (kind, *rooms[kind]))
        self._learns = expected is None
        self._seen, self._sum_cpu, self._sum_memory = 0, 0.0, 0
        self._look_at = 1
        for request, count in expected or ():
            self._sum_cpu += request.cpus * count
            self._sum_memory += request.memory * count
        if not self._learns:
            self.mix = mix(self._sum_cpu * CORE, self._sum_memory, self._largest)

    # asking

    def pick(self, request: Request) -> int | None:
        """The number of the best node for `request`; None where nothing fits."""
        asked = self._want(request)
        if len(asked.domains) == 1 and not asked.particular:
            found = self._best(asked, asked.domains[0])
            return found[1] if found else None
        return self._pick_particular(asked)

    def fits(self, request: Request, node: int) -> bool:
        """Whether this very node can take it now."""
        asked = self._want(request)
        kind, cpu, memory = self.states[self.state[node]]
        roomy = cpu >= asked.least_cpu and memory >= asked.least_memory
        suits = roomy and any(kind in domain.classes for domain in asked.domains)
        return suits and not (asked.particular and self._around.shut(asked, node))

    def keeps(self, request: Request, node: int) -> bool:
        """Whether one that lies there may run there again: to a node that is only cordoned it is nothing new."""
        there = self.nodes[node]
        if not there.cordoned or there.drained or not there.ready:
            return self.fits(request, node)
        asked = self._want(request)
        _, cpu, memory = self.states[self.state[node]]
        roomy = cpu >= asked.least_cpu and memory >= asked.least_memory
        return roomy and not (asked.particular and self._around.shut(asked, node))

    @property
    def volumes(self) -> dict[str, int]:
        """Where each volume lies: the number of its node, or `neighbours.NOWHERE`."""
        return self._around.volumes

    @volumes.setter
    def volumes(self, volumes: dict[str, int]) -> None:
        self._around.volumes = volumes

    def score(self, asked: Want, kind: int, cpu: int, memory: int) -> float:
        """See `score`: the smaller the better. The very sums of `scan.Columns.best`, in the same order."""
        mix, (cpu_tight, memory_tight) = self.mix, self.tightness[kind]
        after_cpu, after_memory = cpu - asked.cpu, memory - asked.memory
        excess = after_memory * mix.ratio - after_cpu
        one, other = excess * mix.memory_weight, excess * mix.cpu_weight
        before = memory * mix.ratio - cpu
        old, older = before * mix.memory_weight, before * mix.cpu_weight
        return (
            (one if one > other else other)
            - (old if old > older else older)
            + (after_cpu * cpu_tight + after_memory * memory_tight)
        )

    def rank(self, request: Request, node: int) -> tuple[float, float]:
        """(preferences against it, score) of a node that can take it: the smaller the better."""
        asked = self._want(request)
        place = self.states[self.state[node]]
        domain = next(one for one in asked.domains if place[0] in one.classes)
        return self._around.against(asked, domain) - self._around.wishes(asked, node), self.score(asked, *place)

    def strands(self, request: Request, node: int) -> float:
        """By how much what cannot be used any more grows, as a share of a largest node."""
        asked = self._want(request)
        _, cpu, memory = self.states[self.state[node]]
        return self.mix.stranded(cpu - asked.cpu, memory - asked.memory) - self.mix.stranded(cpu, memory)

    def load(self, node: int) -> Load:
        return load(self.occupants[node].items())

    def everyone(self) -> Iterable[Occupant]:
        for number, there in enumerate(self.occupants):
            yield from (Occupant(name, self.nodes[number].name, request) for name, request in there.items())

    def first(self, state: int) -> int:
        """The node with the lowest number in a live state."""
        members = self._members[state]
        while self.state[members[0]] != state:
            heappop(members)
        return members[0]

    def first_except(self, state: int, out: Set[int]) -> int | None:
        """The same, of those that are not in `out`."""
        there = (node for node in self._members[state] if self.state[node] == state and node not in out)
        return min(there, default=None)

    def members_of(self, classes: frozenset[int]) -> Iterator[int]:
        """The numbers of the nodes of these classes: those of one class stand together."""
        for kind in sorted(classes):
            yield from range(self._starts[kind], self._starts[kind + 1])

    # changing

    def place(self, request: Request, name: str) -> str | None:
        """Pick and put; the node's name."""
        self._learn(request)
        node = self.pick(request)
        if node is None:
            return None
        self._put(request, node, name)
        return self.nodes[node].name

    def place_many(self, request: Request, names: Sequence[str]) -> list[str | None]:
        """`place` for replicas that all ask for the same: looked up once for all of them."""
        asked = self._want(request)
        if len(asked.domains) != 1 or asked.particular or request.spread:
            return [self.place(request, name) for name in names]
        for _ in names:
            self._learn(request)
        ranking, found = self._ranking(asked, asked.domains[0]), []
        for name in names:
            best = ranking.best()
            if best is None:
                break  # room only shrinks
            node = best[1]
            self.occupants[node][name] = request
            self.where[name] = node
            if request.service:
                self._around.add(asked, node)
            kind, cpu, memory = self.states[self.state[node]]
            self._move(node, (kind, cpu - asked.cpu, memory - asked.memory))
            found.append(self.nodes[node].name)
        return [*found, *[None] * (len(names) - len(found))]

    def put(self, request: Request, node: str, name: str) -> None:
        """`name` lies on `node`, whether it fits there or not."""
        self._put(request, self.names[node], name)

    def _put(self, request: Request, node: int, name: str) -> None:
        self.occupants[node][name] = request
        self.where[name] = node
        asked = self._want(request)
        kind, cpu, memory = self.states[self.state[node]]
        self._move(node, (kind, cpu - asked.cpu, memory - asked.memory))
        self._around.add(asked, node)

    def drop(self, name: str) -> tuple[Request, int]:
        """Take it away; what it asked for, and where it lay."""
        node = self.where.pop(name)
        request = self.occupants[node].pop(name)
        asked = self._want(request)
        kind, cpu, memory = self.states[self.state[node]]
        self._move(node, (kind, cpu + asked.cpu, memory + asked.memory))
        self._around.take(asked, node)
        # What ruled nodes out for others may be gone with it.
        self._by_nodes.clear()
        return request, node

    def block(self, node: str, cpus: float, memory: int) -> None:
        """Reserve room on a node for somebody without a name."""
        number = self.names[node]
        kind, cpu, free = self.states[self.state[number]]
        self._move(number, (kind, cpu - round(cpus * CORE), free - memory))

    # inside

    def _want(self, request: Request) -> Want:
        found = self._wants.get(request)
        if found is None:
            found = self._wants[request] = want(request, self.classes, self._domains)
        return found

    def _best(self, asked: Want, domain: Domain, out: Set[int] = frozenset()) -> tuple[float, int] | None:
        """The best node of a domain, but for those in `out`. What is asked for the first time is looked up, the second
        time ranked: by room alone, which many requests have in common, unless much is out."""
        if len(out) > FEW:
            return self._by_node(asked, domain).best()
        key = (asked.room, domain.classes)
        if key not in self._by_state and key not in self._asked_once:
            self._asked_once.add(key)
            return self._look(asked, domain, out)
        ranking = self._ranking(asked, domain)
        return ranking.best_except(out) if out else ranking.best()

    def _ranking(self, asked: Want, domain: Domain) -> ByState:
        key = (asked.room, domain.classes)
        ranking = self._by_state.get(key)
        if ranking is None:
            if len(self._by_state) >= KEPT:
                self._by_state.clear()
            ranking = self._by_state[key] = ByState(self, asked, domain.classes)
        return ranking

    def _by_node(self, asked: Want, domain: Domain) -> ByNode:
        key = (asked.request, domain.classes)
        ranking = self._by_nodes.get(key)
        if ranking is None:
            if len(self._by_nodes) >= KEPT:
                self._by_nodes.clear()
            shut = partial(self._around.passed_over, asked)
            ranking = self._by_nodes[key] = ByNode(self, asked, domain.classes, shut)
        return ranking

    def _look(self, asked: Want, domain: Domain, out: Set[int]) -> tuple[float, int] | None:
        if self._fast and self._columns is None and len(self.live) >= FAST_FROM and len(self._asked_once) >= FAST_FROM:
            self._columns = scan.columns(self)
            self._fast = self._columns is not None
        if self._columns is None or len(self.live) < FAST_FROM:
            return scan.plainly(self, asked, domain.classes, out)
        return self._columns.best(asked, domain.classes, out)

    def _pick_particular(self, asked: Want) -> int | None:
        """Volumes, required neighbours and wishes name nodes: those are looked at one by one, the rest as ever."""
        request = asked.request
        domain_of = {kind: domain for domain in asked.domains for kind in domain.classes}
        against = {domain: self._around.against(asked, domain) for domain in asked.domains}
        best: Rank | None = None
        only, near = self._around.named(asked)
        for node in near if only is None else only:
            domain = domain_of.get(self.states[self.state[node]][0])
            if domain is not None and self.fits(request, node):
                rank = (*self.rank(request, node), node)
                best = rank if best is None else min(best, rank)
        if only is None:
            out = self._around.out(asked)
            for domain in sorted(asked.domains, key=lambda one: (against[one], one.values)):
                if best is not None and best[0] < against[domain]:
                    break
                found = self._best(asked, domain, out)
                if found is not None:
                    rank = (against[domain], *found)
                    best = rank if best is None else min(best, rank)
        return best[2] if best is not None else None

    # what is learnt, and bookkeeping

    def _learn(self, request: Request) -> None:
        if not self._learns:
            return
        self._seen += 1
        self._sum_cpu += request.cpus
        self._sum_memory += request.memory
        if self._seen >= self._look_at:
            self._look_at += 1 + self._seen // 5
            now = mix(self._sum_cpu * CORE, self._sum_memory, self._largest)
            if now.skew(self.mix) > SKEW:
                self.mix = now
                self._by_state.clear()
                self._by_nodes.clear()
                self._columns = None

    def _enter(self, node: int, key: tuple[int, int, int]) -> None:
        state = self._state_of(key)
        self.state.append(state)
        self._join(node, state)

    def _move(self, node: int, key: tuple[int, int, int]) -> None:
        old = self.state[node]
        self.counts[old] -= 1
        if not self.counts[old]:
            del self.live[old]
        state = self.state[node] = self._state_of(key)
        self._join(node, state)
        self.moves.append(node)
        if self._columns is not None:
            self._columns.update(node, key[1], key[2])

    def _state_of(self, key: tuple[int, int, int]) -> int:
        state = self._ids.get(key)
        if state is None:
            state = self._ids[key] = len(self.states)
            self.states.append(key)
            self.counts.append(0)
            self._members.append([])
        return state

    def _join(self, node: int, state: int) -> None:
        heappush(self._members[state], node)
        if not self.counts[state]:
            self.live[state] = None
            self.births.append(state)
        self.counts[state] += 1
