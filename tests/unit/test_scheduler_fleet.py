"""Random worlds against plain eyes: filters asked one by one, sums made anew, every node looked at."""

from __future__ import annotations

import importlib.util
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.scheduler import Fleet, Node, Request
from orchestrator.scheduler.filters import FILTERS
from orchestrator.scheduler.fleet import FAST_FROM, FEW
from orchestrator.scheduler.neighbours import NOWHERE
from orchestrator.scheduler.node import Affinity, Constraint, HostPort
from orchestrator.scheduler.refusal import refuse
from tests.effort import examples

GIB = 1 << 30

nodes = st.builds(
    Node,
    name=st.just(""),
    cpus=st.sampled_from([0.5, 1.0, 2.0, 3.3]),
    memory=st.sampled_from([GIB, 2 * GIB, 5 * GIB]),
    ready=st.sampled_from([True, True, True, False]),
    labels=st.sampled_from([{}, {"disk": "ssd"}, {"disk": "hdd", "rack": "1"}, {"rack": "2"}]),
    pids=st.sampled_from([0, 0, 100]),
    devices=st.sampled_from([{}, {"gpu": 1}, {"gpu": 2}]),
    architecture=st.sampled_from(["", "amd64", "arm64"]),
    runtimes=st.sampled_from([(), ("runsc",)]),
    cordoned=st.sampled_from([False, False, True]),
    cpu_ratio=st.sampled_from([1.0, 1.5]),
)
affinities = st.sampled_from(
    [
        Affinity(10, "s/a"),
        Affinity(-10, "s/b"),
        Affinity(-10, "s/a", required=True),
        Affinity(10, "s/b", required=True),
        Affinity(5, label=("disk", "ssd")),
    ]
)
constraints = st.sampled_from(
    [
        Constraint("node.labels.disk", "SSD"),
        Constraint("node.labels.rack", "1", equal=False),
        Constraint("node.id", "n1"),
    ]
)
requests = st.builds(
    Request,
    cpus=st.sampled_from([0.0, 0.1, 0.25, 1.0, 1.5]),
    memory=st.sampled_from([0, GIB // 4, GIB, 2 * GIB]),
    pids=st.sampled_from([0, 0, 60]),
    devices=st.sampled_from([(), (), (("gpu", 1),)]),
    ports=st.sampled_from([(), (), (HostPort(80),), (HostPort(80, address="10.0.0.1"),)]),
    runtime=st.sampled_from(["", "", "", "runsc"]),
    architecture=st.sampled_from(["", "", "arm64"]),
    constraints=st.lists(constraints, max_size=1).map(tuple),
    service=st.sampled_from(["s/a", "s/b", "s/c"]),
    per_node=st.sampled_from([0, 0, 1]),
    spread=st.sampled_from([(), (), ("node.labels.rack",)]),
    affinities=st.lists(affinities, max_size=2).map(tuple),
    spare_cpus=st.sampled_from([0.0, 0.0, 0.5]),
)
plain = st.builds(
    Request,
    cpus=st.sampled_from([0.0, 0.1, 0.25, 1.0]),
    memory=st.sampled_from([0, GIB // 4, GIB]),
    service=st.sampled_from(["s/a", "s/b"]),
)


def named(found: list[Node]) -> list[Node]:
    from dataclasses import replace

    return [replace(node, name=f"n{number}") for number, node in enumerate(found)]


@settings(deadline=None, max_examples=examples(150))
@given(st.lists(nodes, min_size=1, max_size=6), st.lists(requests, max_size=14), st.data())
def test_never_where_a_filter_forbids_and_refused_only_where_nothing_fits(
    found: list[Node], asked: list[Request], data: st.DataObject
) -> None:
    fleet = Fleet(named(found))
    for number, request in enumerate(asked):
        loads = [fleet.load(node) for node in range(len(fleet.nodes))]
        fitting = {
            node
            for node, load in enumerate(loads)
            if not any(rule(request, fleet.nodes[node], load) for rule in FILTERS.values())
        }
        assert {node for node in range(len(fleet.nodes)) if fleet.fits(request, node)} == fitting
        chosen = fleet.pick(request)
        if chosen is None:
            assert not fitting
            assert sum(reason.nodes for reason in refuse(fleet, request).reasons) >= len(fleet.nodes)
            continue
        assert chosen in fitting
        assert chosen == min(fitting, key=lambda node: (*fleet.rank(request, node), node)), "the best of them"
        fleet.place(request, f"r{number}")
        if data.draw(st.integers(0, 3)) == 0 and fleet.where:
            fleet.drop(data.draw(st.sampled_from(sorted(fleet.where))))


@pytest.mark.skipif(importlib.util.find_spec("numpy") is None, reason="numpy (the extra 'fast') is not installed")
@settings(deadline=None, max_examples=examples(15))
@given(st.lists(plain | requests, min_size=30, max_size=60), st.integers(0, 5))
def test_with_and_without_numpy_the_answers_are_the_same(asked: list[Request], salt: int) -> None:
    sizes = list(product([1.0, 2.0, 4.0], [GIB, 3 * GIB, 8 * GIB]))
    many = [
        Node(
            f"n{number}",
            *sizes[(number * 7 + salt) % len(sizes)],
            labels={"rack": str(number % 3)} if number % 2 else {},
        )
        for number in range(3 * FAST_FROM)
    ]
    answers = []
    for fast in (True, False):
        fleet = Fleet(many, fast=fast)
        for number in range(2 * FAST_FROM):  # so many states that numpy is worth its while
            fleet.put(Request(0.001 * number, number << 20), f"n{number}", f"there-{number}")
        answers.append([fleet.place(request, f"r{number}") for number, request in enumerate(asked)])
    assert answers[0] == answers[1]


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4)), min_size=1, max_size=3), st.lists(plain, max_size=20))
def test_the_order_of_the_nodes_is_no_matter(shapes: list[tuple[int, int]], asked: list[Request]) -> None:
    there = [Node(f"n{number}", cpus / 2, memory * GIB) for number, (cpus, memory) in enumerate(shapes * 2)]
    one, other = Fleet(there), Fleet(reversed(there))
    for number, request in enumerate(asked):
        assert one.place(request, str(number)) == other.place(request, str(number))


def test_what_lies_on_a_volume_stays_on_its_node() -> None:
    fleet = Fleet([Node("n1", 1.0, GIB), Node("n2", 4.0, 4 * GIB)], [])
    assert fleet.place(Request(1, service="s/db", volumes=("data",)), "db-1") == "n1"
    assert fleet.place(Request(1, service="s/backup", volumes=("data",)), "backup-1") is None
    said = refuse(fleet, Request(1, service="s/backup", volumes=("data",)))
    assert {reason.text for reason in said.reasons} == {"without volume data (on n1)", "short of cpus"}
    fleet.drop("db-1")
    assert fleet.place(Request(1, service="s/backup", volumes=("data",)), "backup-1") == "n1"
    # Its node is gone: it is nowhere, and not on some other node.
    fleet.volumes["lost"] = NOWHERE
    assert fleet.place(Request(0.1, service="s/late", volumes=("lost",)), "late-1") is None
    assert "its node is gone" in refuse(fleet, Request(0.1, volumes=("lost",))).why


def test_many_that_are_alike_and_their_going() -> None:
    fleet = Fleet([Node(f"n{number}", 4.0, 8 * GIB) for number in range(50)])
    placed = [fleet.place(Request(0.5, GIB), f"r{number}") for number in range(500)]
    assert placed.count(None) == 100
    for number in range(0, 400, 2):
        fleet.drop(f"r{number}")
    assert None not in [fleet.place(Request(1.0, 2 * GIB), f"big-{number}") for number in range(100)]
    assert all(cpu >= 0 and memory >= 0 for _, cpu, memory in (fleet.states[state] for state in fleet.state))


def test_a_bound_per_node_and_ports_on_more_nodes_than_are_looked_over_one_by_one() -> None:
    """What is ruled out on a few nodes and on many is chosen by the same rule: here until every node has one."""
    many = [Node(f"n{number}", 4.0, (4 + number % 3) * GIB) for number in range(FEW + 30)]
    fleet, asked = Fleet(many, []), Request(1.0, GIB, service="s/a", per_node=1, ports=(HostPort(80),))
    for number in range(len(many)):
        fitting = [node for node in range(len(many)) if fleet.fits(asked, node)]
        assert len(fitting) == len(many) - number
        chosen = fleet.pick(asked)
        assert chosen == min(fitting, key=lambda node: (*fleet.rank(asked, node), node))
        fleet.put(asked, fleet.nodes[chosen].name, f"a{number}")
    assert fleet.pick(asked) is None
    fleet.drop("a7")
    assert fleet.pick(asked) is not None
