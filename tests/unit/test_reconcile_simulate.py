"""The decider on nodes that are only on paper: what happens, told as the timeline of `pyorch simulate`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.reconcile.fit import fit
from orchestrator.reconcile.simulate import Event, Simulation, simulate
from orchestrator.scheduler.node import Node, Request
from orchestrator.stack.load import load
from orchestrator.stack.model import Placement, Service, Shares, Stack
from tests.effort import examples

GIB = 1 << 30
TWO = (Node("n1", 2, 2 * GIB), Node("n2", 3, 2 * GIB))


def stack(tmp_path: Path, text: str) -> Stack:
    file = tmp_path / "stack.yaml"
    file.write_text("name: shop\n" + text)
    return load([str(file)], directory=str(tmp_path), environment={})


def told(found: Simulation, *words: str) -> list[str]:
    """The lines that begin with one of the words, without what explains a refusal in full."""
    lines = (f"{line.at:.2f} {line.text}" for line in found.timeline)
    return [line.partition("; of ")[0] for line in lines if line.split()[1] in words]


def where(found: Simulation) -> dict[str, str]:
    return {one.name: one.node for one in found.containers if one.phase == "running"}


def test_room_is_made_for_the_more_important_and_the_plan_says_for_whom(tmp_path: Path) -> None:
    given_ = stack(
        tmp_path,
        """
services:
  batch:
    image: host:/
    x-pyorch: {priority: 10}
    deploy: {replicas: 4, resources: {reservations: {cpus: 1}}}
  web:
    image: host:/
    depends_on: {job: {condition: service_completed_successfully}}
    x-pyorch: {priority: 90}
    deploy: {resources: {reservations: {cpus: 2}}}
  job: {image: "host:/"}
""",
    )
    found = simulate(given_, TWO)
    assert told(found, "stop", "remove", "hold") == [
        "1.02 stop  shop-batch-3: makes room for shop-web-1 (priority 90 before 10)",
        "1.03 remove shop-batch-3: it left its node",
        "1.04 hold  shop-batch-3: needs 1 cpu",
    ]
    assert where(found)["shop-web-1"] == "n2"


def test_nobody_is_moved_for_an_equal(tmp_path: Path) -> None:
    text = """
services:
  a: {image: "host:/", deploy: {replicas: 5, resources: {reservations: {cpus: 1}}}}
  b: {image: "host:/", deploy: {resources: {reservations: {cpus: 2}}}}
"""
    found = simulate(stack(tmp_path, text), TWO)
    assert told(found, "stop") == []
    assert [hold.subject for hold in found.plan.holds] == ["shop-b-1"]


def test_a_drained_node_is_emptied_one_replica_of_a_service_after_the_other(tmp_path: Path) -> None:
    text = """
services:
  web: {image: "host:/", healthcheck: {test: "true"}, deploy: {replicas: 2, resources: {reservations: {cpus: 1}}}}
  db: {image: "host:/", volumes: ["data:/data"], deploy: {resources: {reservations: {memory: 1G}}}}
volumes: {data: {}}
"""
    found = simulate(stack(tmp_path, text), TWO, [Event(10.0, "drain", "n1")])
    assert told(found, "stop") == [
        "10.00 stop  shop-web-1: n1 is drained; goes to n2",
        "15.03 stop  shop-web-2: n1 is drained; goes to n2",
    ]
    # What lies on a volume of the node stays, and says so.
    assert where(found) == {"shop-web-1": "n2", "shop-web-2": "n2", "shop-db-1": "n1"}
    assert "n1 is drained, but there is no other place" in found.plan.holds[0].why
    assert "without volume shop_data (on n1)" in found.plan.holds[0].why


def test_a_dead_node_is_replaced_and_coming_back_moves_nothing(tmp_path: Path) -> None:
    text = 'services: {web: {image: "host:/", deploy: {replicas: 2, resources: {reservations: {cpus: 1}}}}}'
    found = simulate(stack(tmp_path, text), TWO, [Event(5.0, "kill", "n1"), Event(9.0, "revive", "n1")])
    assert where(found) == {"shop-web-1": "n2", "shop-web-2": "n2"}
    assert not found.plan.holds


def test_one_on_each_node(tmp_path: Path) -> None:
    text = """
services:
  logger:
    image: host:/
    deploy: {mode: global, placement: {constraints: [node.labels.quiet != yes]}}
"""
    nodes = (*TWO, Node("n3", 1, GIB, labels={"quiet": "yes"}), Node("n4", 1, GIB))
    found = simulate(stack(tmp_path, text), nodes, [Event(5.0, "drain", "n2"), Event(9.0, "uncordon", "n2")])
    assert told(found, "stop") == ["5.00 stop  shop-logger-2: scaled down to 2"]
    assert sorted(where(found).values()) == ["n1", "n2", "n4"]


def test_all_or_nothing(tmp_path: Path) -> None:
    text = """
x-pyorch: {gang: true}
services:
  a: {image: "host:/", deploy: {resources: {reservations: {cpus: 1}}}}
  b: {image: "host:/", deploy: {resources: {reservations: {cpus: 4}}}}
"""
    found = simulate(stack(tmp_path, text), TWO)
    assert not found.containers
    assert {hold.subject for hold in found.plan.holds} == {"shop-a-1", "shop-b-1"}
    assert all("gang" in hold.why and "b needs 4 cpus" in hold.why for hold in found.plan.holds)
    assert not fit(stack(tmp_path, text), TWO).placed
    assert len(where(simulate(stack(tmp_path, text), (*TWO, Node("n3", 4, GIB))))) == 2


def test_a_quota_and_what_is_to_be_spared(tmp_path: Path) -> None:
    text = """
x-pyorch: {quota: {cpus: 3}, reserve: {cpus: 0.5}}
services:
  a: {image: "host:/", deploy: {replicas: 5, resources: {reservations: {cpus: 1}}}}
"""
    found = simulate(stack(tmp_path, text), TWO)
    assert where(found) == {"shop-a-1": "n1", "shop-a-2": "n2", "shop-a-3": "n2"}
    assert "the quota of stack shop is 3 cpus, and 3 cpus of it is taken" in found.plan.holds[0].why
    assert [one.slot for one, _ in fit(stack(tmp_path, text), TWO).refused] == [4, 5]


def test_who_must_leave_a_drained_node_is_made_room_for_like_anybody_else(tmp_path: Path) -> None:
    text = """
services:
  a: {image: "host:/", x-pyorch: {priority: 90}, deploy: {replicas: 2, resources: {reservations: {cpus: 1}}}}
  b: {image: "host:/", x-pyorch: {priority: 10}, deploy: {resources: {reservations: {cpus: 2}}}}
"""
    nodes = [Node("n1", 1.0, GIB), Node("n2", 2.0, GIB), Node("n3", 1.0, GIB)]
    found = simulate(stack(tmp_path, text), nodes, [Event(1.0, "drain", "n3")])
    assert where(found) == {"shop-a-1": "n1", "shop-a-2": "n2"}
    said = [line.text for line in found.timeline if line.at >= 1.0 and not line.text.startswith(("hold", "remove"))]
    assert said == [
        "n3 is drained",
        "stop  shop-b-1: makes room for shop-a-2 (priority 90 before 10)",
        "stop  shop-a-2: n3 is drained; goes to n2",
        "start shop-a-2 on n2: missing",
    ]
    assert [hold.subject for hold in found.plan.holds] == ["shop-b-1"], "told, not lost"


services = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0, 10, 90]), st.booleans()),
    min_size=1,
    max_size=4,
)
events = st.lists(
    st.builds(
        Event,
        st.sampled_from([0.005, 1.0, 5.0, 7.0]),
        st.sampled_from(["kill", "revive", "drain", "cordon", "uncordon"]),
        st.sampled_from(["n1", "n2", "n3"]),
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=examples(120))
@given(services, st.lists(st.sampled_from([1.0, 2.0, 3.5]), min_size=3, max_size=3), events, st.booleans())
def test_it_settles_no_node_is_over_full_and_what_can_run_runs(
    asked: list[tuple[int, float, int, bool]], sizes: list[float], befall: list[Event], gang: bool
) -> None:
    made = {
        name: Service(
            name,
            "host:/",
            replicas=replicas,
            reservations=Request(cpus),
            placement=Placement(everywhere=everywhere, priority=priority),
        )
        for name, (replicas, cpus, priority, everywhere) in zip("abcd", asked, strict=False)
    }
    nodes = [Node(f"n{number + 1}", size, GIB) for number, size in enumerate(sizes)]
    found = simulate(Stack("shop", "/", (), made, shares=Shares(gang=gang)), nodes, befall)
    assert not found.plan.actions, "it settled"
    running = [one for one in found.containers if one.phase == "running"]
    for node in nodes:
        there = [made[one.service].reservations.cpus for one in running if one.node == node.name]
        assert sum(there) <= node.cpus + 1e-9
    again = simulate(Stack("shop", "/", (), made, shares=Shares(gang=gang)), nodes, befall)
    assert [line.text for line in again.timeline] == [line.text for line in found.timeline]
    # Nobody waits while somebody less important has room that would be enough.
    held = {hold.subject.split("-")[1] for hold in found.plan.holds if "needs" in hold.why and "gang" not in hold.why}
    for name in held:
        service = made[name]
        dead = {event.node for event in befall}
        for node in nodes:
            lower = [
                made[one.service].reservations.cpus
                for one in running
                if one.node == node.name and made[one.service].placement.priority < service.placement.priority
            ]
            used = sum(made[one.service].reservations.cpus for one in running if one.node == node.name)
            if node.name not in dead and not service.placement.everywhere:
                assert node.cpus - used + sum(lower) < service.reservations.cpus - 1e-9


def test_random_worlds_against_an_exact_answer() -> None:
    """Small ones, every placement tried: fit --batch leaves out nothing where all could be placed on one node less."""
    from itertools import product

    sizes = (0.5, 1.0, 1.5)
    for cpus in product(sizes, repeat=4):
        made = {
            name: Service(name, "host:/", reservations=Request(each)) for name, each in zip("abcd", cpus, strict=True)
        }
        nodes = [Node(f"n{number}", 2.0, GIB) for number in range(4)]
        found = fit(Stack("shop", "/", (), made), nodes, at_once=True, fewest=True)
        least = min(
            len(set(where_))
            for where_ in product(range(4), repeat=4)
            if all(sum(c for c, w in zip(cpus, where_, strict=True) if w == n) <= 2.0 for n in range(4))
        )
        assert not found.refused
        assert found.nodes_used == least >= found.bound


@pytest.mark.parametrize("at_once", [False, True])
def test_the_same_input_gives_the_same_answer(tmp_path: Path, at_once: bool) -> None:
    text = 'services: {a: {image: "host:/", deploy: {replicas: 7, resources: {reservations: {cpus: 0.7}}}}}'
    one, other = (fit(stack(tmp_path, text), TWO, at_once=at_once) for _ in range(2))
    assert one == other
