"""Which node, or why none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.scheduler import Node, Occupant, Placed, Refused, Request, explain, place
from orchestrator.scheduler.node import Affinity, Constraint, HostPort

GIB = 1 << 30
MIB = 1 << 20
ONE = Node("n1", 2.0, 4 * GIB)
SSD = Constraint("node.labels.disk", "ssd")


def on(node: str, *requests: Request) -> list[Occupant]:
    return [Occupant(f"{node}-{number}", node, request) for number, request in enumerate(requests)]


@pytest.mark.parametrize(
    ("request_", "nodes", "there", "sentence"),
    [
        (Request(), [ONE], [], "n1"),
        (Request(2, 4 * GIB), [ONE], [], "n1"),
        (
            Request(2, 512 * MIB),
            [ONE],
            on("n1", Request(0.5, 820 * MIB)),
            "needs 2 cpus and 512 MiB; n1 has 1.5 cpus and 3.2 GiB free of 2 and 4 GiB; "
            "would fit: lower it cpus 2 → 1.5, or stop n1-0 on n1: frees 820M and 0.5 cpus",
        ),
        # What asks for nothing is always taken in, even by a node that is full beyond its size.
        (Request(), [ONE], on("n1", Request(3, 9 * GIB)), "n1"),
        (
            Request(1),
            [ONE],
            on("n1", Request(3, 0)),
            "needs 1 cpu; n1 has 0 cpus and 4 GiB free of 2 and 4 GiB; would fit: stop n1-0 on n1: frees 3 cpus",
        ),
        (
            Request(),
            [Node("n1", 2, GIB, ready=False)],
            [],
            "needs no reserved resources; n1 is not ready; would fit: add a node",
        ),
        (Request(1), [], [], "needs 1 cpu; there is no node"),
        (Request(1), [ONE, Node("n2", 1, GIB, ready=False)], [], "n1"),
        # The fullest that can still take it: large nodes stay free for large requests.
        (Request(1), [ONE, Node("n2", 4, 4 * GIB)], on("n2", Request(3, 3 * GIB)), "n2"),
        (Request(1), [Node("n10", 2, GIB), Node("n2", 2, GIB)], [], "n2"),
        (
            Request(4),
            [ONE, Node("n2", 3, GIB), Node("n3", 8, GIB, ready=False)],
            [],
            "needs 4 cpus; of 3 nodes 2 short of cpus, 1 not ready; "
            "nearest: n2 has 3 cpus and 1 GiB free of 3 and 1 GiB; would fit: lower it cpus 4 → 3",
        ),
        (
            Request(1, constraints=(SSD,)),
            [ONE, Node("n2", 4, GIB)],
            [],
            "needs 1 cpu; of 2 nodes 2 against node.labels.disk == ssd; nearest: n1 is against node.labels.disk == ssd;"
            " would fit: drop the constraint node.labels.disk == ssd of it, or label n1 disk=ssd",
        ),
        (
            Request(1, ports=(HostPort(80),)),
            [ONE],
            on("n1", Request(0.5, ports=(HostPort(80, address="127.0.0.1"),), service="shop/web")),
            "needs 1 cpu and port 80/tcp; n1 is with port 80/tcp taken; would fit: stop n1-0 on n1: frees 0.5 cpus, or"
            " publish it on another port than 80/tcp, or on any (no host port)",
        ),
        (
            Request(1),
            [ONE, Node("n2", 4, GIB, cordoned=True), Node("n3", 4, GIB, drained=True)],
            on("n1", Request(2)),
            "needs 1 cpu; of 3 nodes 1 short of cpus, 1 cordoned, 1 drained; nearest: n1 has 0 cpus and 4 GiB free of 2"
            " and 4 GiB; would fit: stop n1-0 on n1: frees 2 cpus, or uncordon n2",
        ),
        # One move makes room, and nothing is lost.
        (
            Request(2),
            [ONE, Node("n2", 1, GIB)],
            on("n1", Request(0.5)),
            "needs 2 cpus; of 2 nodes 2 short of cpus; nearest: n1 has 1.5 cpus and 4 GiB free of 2 and 4 GiB; would"
            " fit: lower it cpus 2 → 1.5, or move n1-0 from n1 to n2 (frees 0.5 cpus)",
        ),
        # Twice the cores may be promised, but not twice the memory.
        (Request(3), [Node("n1", 2, GIB, cpu_ratio=2.0)], [], "n1"),
        (Request(1, spare_cpus=1.5), [Node("n1", 2, GIB), Node("n2", 3, GIB)], [], "n2"),
    ],
)
def test_the_answer_says_why(request_: Request, nodes: list[Node], there: list[Occupant], sentence: str) -> None:
    answer = place(request_, nodes, there)
    assert sentence == (answer.node if isinstance(answer, Placed) else answer.why)


def test_tenths_of_a_cpu_add_up() -> None:
    there: list[Occupant] = []
    for number in range(20):
        assert isinstance(place(Request(0.1), [ONE], there), Placed)
        there.append(Occupant(str(number), "n1", Request(0.1)))
    assert isinstance(place(Request(0.1), [ONE], there), Refused)


def test_no_filter_hides_another() -> None:
    answer = place(Request(8, 64 * GIB, constraints=(SSD,)), [ONE])
    assert isinstance(answer, Refused)
    assert {reason.filter: reason.nodes for reason in answer.reasons} == {"constraint": 1, "cpus": 1, "memory": 1}


def test_the_nearest_says_what_it_lacks() -> None:
    answer = place(Request(1.5, 2 * GIB), [Node("a", 1, 8 * GIB), Node("b", 1.25, GIB)])
    assert isinstance(answer, Refused) and answer.nearest is not None
    assert (answer.nearest.node, answer.nearest.short) == ("a", {"cpus": 0.5})


def test_replicas_go_where_fewest_of_them_are() -> None:
    nodes = [Node(f"n{n}", 8, 8 * GIB, labels={"rack": str(n // 2)}) for n in range(4)]
    request = Request(1, service="shop/web", spread=("node.labels.rack",))
    there: list[Occupant] = []
    for number in range(6):
        answer = place(request, nodes, there)
        assert isinstance(answer, Placed)
        there.append(Occupant(f"web-{number}", answer.node, request))
    racks = [int(one.node[1:]) // 2 for one in there]
    assert (racks.count(0), racks.count(1)) == (3, 3)


def test_affinities_pull_and_push_and_bind() -> None:
    nodes = [Node(f"n{n}", 8, 8 * GIB, labels={"ssd": "true"} if n == 2 else {}) for n in range(3)]
    there = [Occupant("cache-1", "n1", Request(1, service="shop/cache"))]

    def goes(*affinities: Affinity) -> str:
        answer = place(Request(1, service="shop/api", affinities=affinities), nodes, there)
        return answer.node if isinstance(answer, Placed) else answer.why

    assert goes(Affinity(10, "shop/cache")) == "n1"
    assert goes(Affinity(-10, "shop/cache")) == "n0"
    assert goes(Affinity(5, label=("ssd", "true"))) == "n2"
    assert goes(Affinity(10, "shop/cache"), Affinity(20, label=("ssd", "true"))) == "n2"
    assert goes(Affinity(10, "shop/cache", required=True)) == "n1"
    assert "3 without db" in goes(Affinity(10, "shop/db", required=True))
    assert goes(Affinity(-10, "shop/cache", required=True), Affinity(-10, label=("ssd", "true"), required=True)) == "n0"


def test_at_most_so_many_on_a_node() -> None:
    request = Request(1, service="shop/web", per_node=1)
    there = [Occupant("web-1", "n1", request)]
    answer = place(request, [ONE], there)
    assert isinstance(answer, Refused)
    assert [reason.text for reason in answer.reasons] == ["with 1 of it already"]
    assert any(way.kind == "per_node" for way in answer.fixes)


def test_what_decided_is_told() -> None:
    def why(request: Request, nodes: list[Node], *there: Occupant) -> str:
        answer = place(request, nodes, there)
        assert isinstance(answer, Placed)
        return answer.why

    thin, fat = Node("thin", 4, 4 * GIB), Node("fat", 4, 16 * GIB)
    assert why(Request(1, GIB), [thin]) == "the only node"
    assert why(Request(1, 8 * GIB), [thin, fat]) == "the only one of 2 nodes that can take it"
    assert why(Request(1, GIB), [thin, replace(thin, name="n2")]).startswith(
        "best fit: 25% reserved with it, of 2 nodes"
    )
    lean = Occupant("x", "gone", Request(10, 10 * GIB))  # what else asks: the mean request
    assert why(Request(1, 4 * GIB), [thin, fat], lean).startswith("strands the least room")
    apart = Affinity(-10, "shop/cache")
    cache = Occupant("cache-1", "thin", Request(1, GIB, service="shop/cache"))
    assert why(Request(1, GIB, affinities=(apart,)), [thin, fat], cache).startswith("spread and affinities are for it")


def test_the_score_table_shows_every_node() -> None:
    nodes = [ONE, Node("n2", 4, 4 * GIB), Node("n3", 1, GIB), Node("n4", 4, 4 * GIB, ready=False)]
    rows = explain(Request(2, GIB), nodes, on("n2", Request(2, GIB)))
    assert [(row.node, row.fault, row.chosen) for row in rows] == [
        ("n2", None, True),
        ("n1", None, False),
        ("n3", "short of cpus", False),
        ("n4", "not ready", False),
    ]
    assert rows[0].score < rows[1].score
