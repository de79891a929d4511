"""Packing all at once, moving for room, emptying nodes: what must hold of every answer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.scheduler import Fleet, Node, Request, batch
from orchestrator.scheduler.improve import improve
from orchestrator.scheduler.packing import Load, Pattern, heuristics, lower_bound
from orchestrator.scheduler.preempt import evict
from orchestrator.scheduler.rebalance import proposals
from tests.effort import examples

GIB = 1 << 30
parts = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.51, 0.7, 1.0])
loads = st.lists(st.tuples(parts, parts, parts), min_size=1, max_size=6, unique=True).flatmap(
    lambda sizes: st.builds(
        Load,
        st.just(tuple(sizes)),
        st.lists(st.integers(1, 5), min_size=len(sizes), max_size=len(sizes)).map(tuple),
    )
)


def check(load: Load, bins: list[Pattern]) -> None:
    """Everything is packed, once, and no bin is over-full."""
    counts = [sum(pattern.get(shape, 0) for pattern in bins) for shape in range(len(load.sizes))]
    assert counts == list(load.counts)
    for pattern in bins:
        for d in range(3):
            assert sum(load.sizes[shape][d] * count for shape, count in pattern.items()) <= 1 + 1e-6


def test_the_smallest_of_the_least_important_goes_where_one_is_enough() -> None:
    fleet = Fleet([Node("n1", 4.0, 8 << 30)], [])
    for name, cpus, priority in (("large", 2.0, 0), ("small", 0.5, 0), ("other", 1.5, 20)):
        fleet.put(Request(cpus, service=f"s/{name}", priority=priority), "n1", name)
    found = evict(fleet, Request(0.5, service="s/x", priority=50), {"large", "small", "other"})
    assert found is not None and found.victims == ("small",)
    assert sorted(fleet.where) == ["large", "other", "small"]


@settings(deadline=None, max_examples=examples(25))
@given(loads)
def test_every_rule_packs_everything_and_none_beats_the_bound(load: Load) -> None:
    bound = lower_bound(load)
    for bins in heuristics(load):
        check(load, bins)
        assert len(bins) >= bound
    better = improve(load, bins, bound, 30)
    check(load, better)
    assert bound <= len(better) <= len(bins)
    assert better == improve(load, bins, bound, 30), "the same input, the same answer"


def test_what_decreasing_orders_get_wrong_is_put_right() -> None:
    """Two kinds that only fill a bin together: 0.5 + 0.3 + 0.2, where first fit decreasing puts the halves together."""
    load = Load(((0.5, 0.1, 0.4), (0.3, 0.4, 0.2), (0.2, 0.5, 0.4)), (30, 30, 30))
    assert len(batch.pack(load)) == 30


def test_the_fewest_nodes_of_one_shape() -> None:
    asked = {f"r{n}": Request(*[(1, 3 * GIB), (3, GIB)][n % 2]) for n in range(40)}
    nodes = [Node(f"n{n}", 4, 4 * GIB) for n in range(100)]
    placed = batch.fewest(asked, nodes)
    assert len(placed) == 40 and len(set(placed.values())) == 20 == batch.bound(list(asked.values()), nodes)


def test_ports_keep_apart_when_all_are_packed_at_once() -> None:
    from orchestrator.scheduler.node import HostPort

    asked = {f"r{n}": Request(0.1, ports=(HostPort(80),), service=f"s/{n}") for n in range(5)}
    placed = batch.fewest(asked, [Node(f"n{n}", 4, GIB) for n in range(9)])
    assert len(set(placed.values())) == 5


requests = st.builds(
    Request,
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([GIB, 2 * GIB]),
    priority=st.sampled_from([10, 50, 90]),
    service=st.sampled_from(["s/a", "s/b"]),
)


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(requests, max_size=10), requests)
def test_only_the_less_important_make_room_and_no_more_than_needed(there: list[Request], asked: Request) -> None:
    fleet = Fleet([Node("n1", 2, 4 * GIB), Node("n2", 3, 3 * GIB)], [])
    for number, request in enumerate(there):
        fleet.place(request, f"r{number}")
    before = dict(fleet.where)
    found = evict(fleet, asked, set(before))
    assert dict(fleet.where) == before, "nothing was changed by asking"
    if found is None or fleet.pick(asked) is not None:
        return
    node = fleet.names[found.node]
    gone = [fleet.drop(name)[0] for name in found.victims]
    assert all(one.priority < asked.priority for one in gone)
    assert fleet.fits(asked, node)
    for name, one in zip(found.victims, gone, strict=True):  # without any one of them it would not fit
        fleet.put(one, found.node, name)
        assert not fleet.fits(asked, node)
        fleet.drop(name)


@settings(deadline=None, max_examples=examples(30))
@given(st.lists(requests, max_size=12), st.integers(1, 6))
def test_proposals_empty_nodes_and_keep_to_their_number_of_moves(there: list[Request], most: int) -> None:
    fleet = Fleet([Node(f"n{n}", 3, 4 * GIB) for n in range(4)], [])
    for number, request in enumerate(there):
        if fleet.names and fleet.fits(request, number % 4):
            fleet.put(request, fleet.nodes[number % 4].name, f"r{number}")
    movable = set(fleet.where)
    found = list(proposals(fleet, movable, most))
    assert sum(len(one.moves) for one in found) <= most
    for one in found:
        assert not fleet.occupants[fleet.names[one.emptied.name]]
    assert set(fleet.where) == movable
    assert all(cpu >= 0 and memory >= 0 for _, cpu, memory in (fleet.states[state] for state in fleet.state))
