"""Fixes on random worlds: each that is named, done alone, makes the refused request fit; and no smaller one would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.scheduler import Fleet, Node, Request
from orchestrator.scheduler.clearing import size
from orchestrator.scheduler.node import ALL, Affinity, Constraint, Fix, HostPort
from orchestrator.scheduler.refusal import refuse
from orchestrator.units import human_bytes
from orchestrator.units import size as bytes_of

MIB, GIB = 1 << 20, 1 << 30

nodes = st.builds(
    Node,
    name=st.just(""),
    cpus=st.sampled_from([0.5, 1.0, 2.0, 3.3]),
    memory=st.sampled_from([GIB, 2 * GIB, 5 * GIB, 17 * GIB + 300 * MIB]),
    ready=st.sampled_from([True] * 7 + [False]),
    labels=st.sampled_from([{}, {"disk": "ssd"}, {"disk": "hdd", "rack": "1"}, {"rack": "2"}]),
    pids=st.sampled_from([0, 0, 100]),
    devices=st.sampled_from([{}, {"gpu": 1}, {"gpu": 3}]),
    architecture=st.sampled_from(["", "amd64", "arm64"]),
    runtimes=st.sampled_from([(), ("runsc",)]),
    cordoned=st.sampled_from([False, False, True]),
    cpu_ratio=st.sampled_from([1.0, 1.5]),
)
affinities = st.sampled_from(
    [
        Affinity(-10, "s/a", required=True),
        Affinity(10, "s/b", required=True),
        Affinity(5, label=("disk", "ssd"), required=True),
        Affinity(5, label=("disk", "ssd")),
    ]
)
constraints = st.sampled_from(
    [
        Constraint("node.labels.disk", "ssd"),
        Constraint("node.labels.disk", "ssd", equal=False),
        Constraint("node.labels.rack", "1", equal=False),
        Constraint("node.hostname", "n1"),
        Constraint("node.hostname", "n9"),
        Constraint("node.hostname", "n0", equal=False),
    ]
)
requests = st.builds(
    Request,
    cpus=st.sampled_from([0.0, 0.1, 0.25, 1.0, 1.5, 4.0]),
    memory=st.sampled_from([0, GIB // 4, GIB, 3 * GIB, 20 * GIB]),
    pids=st.sampled_from([0, 0, 60]),
    devices=st.sampled_from([(), (), (("gpu", 1),), (("gpu", 2),), (("gpu", ALL),)]),
    ports=st.sampled_from([(), (), (HostPort(80),), (HostPort(80, address="10.0.0.1"),)]),
    runtime=st.sampled_from(["", "", "", "runsc"]),
    architecture=st.sampled_from(["", "", "arm64"]),
    constraints=st.lists(constraints, max_size=2, unique=True).map(tuple),
    service=st.sampled_from(["s/a", "s/b", "t/c"]),
    per_node=st.sampled_from([0, 0, 1]),
    volumes=st.sampled_from([(), (), ("data",)]),
    affinities=st.lists(affinities, max_size=2, unique=True).map(tuple),
    spare_cpus=st.sampled_from([0.0, 0.0, 0.5]),
    priority=st.sampled_from([50, 50, 20]),
)
plain = st.builds(
    Request,
    cpus=st.sampled_from([0.1, 0.25, 1.0, 2.0]),
    memory=st.sampled_from([GIB // 4, GIB, 2 * GIB, 11 * GIB]),
    service=st.sampled_from(["s/a", "s/b", "t/c", "u/d"]),
)


@settings(deadline=None, max_examples=250)
@given(
    st.lists(nodes, min_size=1, max_size=5),
    st.lists(requests | plain, min_size=1, max_size=14),
    st.sampled_from([None, None, None, "gone"]),
)
def test_each_fix_that_is_named_helps_alone_and_no_smaller_one_does(
    shapes: list[Node], asked: list[Request], volume: str | None
) -> None:
    fleet = Fleet([replace(node, name=f"n{number}") for number, node in enumerate(shapes)], [])
    if volume:
        fleet.volumes["data"] = -1
    for number, request in enumerate(asked):
        if fleet.place(request, f"r{number}") is not None:
            continue
        before = picture(fleet)
        ways = refuse(fleet, request, "it").fixes
        assert picture(fleet) == before, "looking changes nothing"
        for way in ways:
            assert helps(fleet, request, way), way
            for smaller in less(fleet, request, way):
                assert not helps(fleet, request, smaller), (way, smaller)


def picture(fleet: Fleet) -> object:
    return dict(fleet.where), dict(fleet.volumes), [dict(there) for there in fleet.occupants]


def helps(fleet: Fleet, request: Request, way: Fix) -> bool:
    """Whether it fits once `way` has been gone, on a copy."""
    nodes, there = [*fleet.nodes], {name: fleet.nodes[node].name for name, node in fleet.where.items()}
    of = {name: fleet.occupants[node][name] for name, node in fleet.where.items()}
    match way.kind:
        case "lower":
            request = lowered(request, way)
        case "stop" if way.subject not in there:
            gone = [n for n, node in there.items() if node == way.node and of[n].service.startswith(f"{way.subject}/")]
            there = {name: node for name, node in there.items() if name not in gone}
        case "stop" | "move":
            del there[way.subject]
        case "uncordon":
            nodes = [replace(n, cordoned=False, drained=False) if n.name == way.node else n for n in nodes]
        case "label":
            key, _, value = way.subject.partition("=")
            nodes = [replace(n, labels={**n.labels, key: value}) if n.name == way.node else n for n in nodes]
        case "constraint":
            request = replace(request, constraints=tuple(c for c in request.constraints if str(c) != way.subject))
        case "runtime":
            request = replace(request, runtime="")
        case "port":
            request = replace(request, ports=())
        case "per_node":
            request = replace(request, per_node=request.per_node + 1)
        case "affinity":
            softer = (replace(one, required=one.required and str(one) != way.subject) for one in request.affinities)
            request = replace(request, affinities=tuple(softer))
        case "node":
            nodes = [*nodes, made_for(request, way)]
        case _:
            raise AssertionError(f"a kind of fix that nobody checks: {way.kind}")
    then = Fleet(nodes, [])
    then.volumes = {volume: then.names[fleet.nodes[n].name] if n >= 0 else n for volume, n in fleet.volumes.items()}
    for name, node in there.items():
        then.put(of[name], node, name)
    if then.place(request, "\0") is None:
        return False
    return way.kind != "move" or then.place(of[way.subject], way.subject) is not None


def lowered(request: Request, way: Fix) -> Request:
    if way.resource == "pids":
        return replace(request, pids=way.count)
    if way.resource:
        devices = {**dict(request.devices), way.resource: way.count}
        return replace(request, devices=tuple(sorted(devices.items())))
    cpus = request.cpus if way.cpus is None else way.cpus
    memory = request.memory if way.memory is None else way.memory
    assert cpus <= request.cpus and memory <= request.memory and (cpus, memory) != (request.cpus, request.memory)
    return replace(request, cpus=cpus, memory=memory)


def made_for(request: Request, way: Fix) -> Node:
    """The node that the fix speaks of."""
    told = {one.key: one.value for one in request.constraints if one.equal}
    labels = {key.removeprefix("node.labels."): value for key, value in told.items() if "labels" in key}
    labels |= {one.label[0]: one.label[1] for one in request.affinities if one.required and one.label}
    return Node(
        told.get("node.hostname", "new"),
        way.cpus or 0.0,
        way.memory or 0,
        labels=labels,
        devices={kind: 1 if count == ALL else count for kind, count in request.devices},
        runtimes=(request.runtime,),
        architecture=request.architecture,
    )


def less(fleet: Fleet, request: Request, way: Fix) -> Iterator[Fix]:
    """Fixes of the same kind that ask less of the user."""
    if way.kind == "lower" and way.count is not None:
        before = request.pids if way.resource == "pids" else dict(request.devices)[way.resource]
        yield from [replace(way, count=way.count + 1)] if way.count + 1 < before else []
    elif way.kind == "lower":
        if way.cpus is not None and way.cpus + 0.001 <= request.cpus:
            yield replace(way, cpus=way.cpus + 0.001)
        if way.memory is not None and way.memory + MIB <= request.memory:
            yield replace(way, memory=way.memory + MIB)
    elif way.kind in ("stop", "move") and way.subject in fleet.where:
        limit = rank(fleet, way.subject)
        for name, node in fleet.where.items():
            other = fleet.occupants[node][name]
            if other.service != request.service and rank(fleet, name) < limit:
                yield replace(way, subject=name, node=fleet.nodes[node].name)


def rank(fleet: Fleet, name: str) -> tuple[int, float]:
    node = fleet.nodes[fleet.where[name]]
    one = fleet.occupants[fleet.where[name]][name]
    return one.priority, size(one, node.cpus, node.memory)


@pytest.mark.parametrize("amount", [12 * GIB + 300 * MIB, 512 * MIB, GIB, 11 * GIB])
def test_what_is_named_can_be_written_into_the_file(amount: int) -> None:
    node = Node("n1", 4.0, amount)
    (way, *_) = refuse(Fleet([node], []), Request(1.0, 20 * GIB, service="s/db"), "s-db-1").fixes
    assert way.memory == amount
    assert bytes_of(way.text.rpartition("→ ")[2]) == amount
    assert way.text.startswith(f"lower db memory {human_bytes(20 * GIB)} → ")


def test_a_stack_is_not_to_be_stopped_where_something_of_it_must_be_near() -> None:
    fleet = Fleet([Node("n1", 1.0, GIB)], [])
    for name, service in (("s-a-1", "s/a"), ("s-b-1", "s/b")):
        fleet.put(Request(0.4, service=service), "n1", name)
    near = Request(1.0, service="t/c", affinities=(Affinity(10, "s/b", required=True),))
    assert [way.kind for way in refuse(fleet, near, "t-c-1").fixes] == ["lower"]
