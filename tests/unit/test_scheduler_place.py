"""Which node, or why none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.node import Node, Placed, Refused, Request
from orchestrator.scheduler.place import place

GIB = 1 << 30
MIB = 1 << 20
ONE = Node("n1", 2.0, 4 * GIB)


@pytest.mark.parametrize(
    ("request_", "nodes", "used", "sentence"),
    [
        (Request(), [ONE], {}, "n1: the only node"),
        (Request(2, 4 * GIB), [ONE], {}, "n1: the only node"),
        (
            Request(2, 512 * MIB),
            [ONE],
            {"n1": Request(0.5, 820 * MIB)},
            "needs 2 cpus and 512 MiB; n1 has 1.5 cpus and 3.2 GiB free of 2 and 4 GiB",
        ),
        (Request(0, 5 * GIB), [ONE], {}, "needs 5 GiB; n1 has 2 cpus and 4 GiB free of 2 and 4 GiB"),
        # What asks for nothing is always taken in, even by a node that is full beyond its size.
        (Request(), [ONE], {"n1": Request(3, 9 * GIB)}, "n1: the only node"),
        (Request(1), [ONE], {"n1": Request(3, 0)}, "needs 1 cpu; n1 has 0 cpus and 4 GiB free of 2 and 4 GiB"),
        (Request(), [Node("n1", 2, GIB, ready=False)], {}, "needs no reserved resources; n1 is not ready"),
        (Request(1), [], {}, "needs 1 cpu; there is no node"),
        (Request(1), [ONE, Node("n2", 1, GIB, ready=False)], {}, "n1: the only node that can take it"),
        # The fullest that can still take it: large nodes stay free for large requests.
        (Request(1), [ONE, Node("n2", 4, 4 * GIB)], {"n2": Request(3, 3 * GIB)}, "n2: best fit: 88% reserved with it"),
        (Request(1), [Node("b", 2, GIB), Node("a", 2, GIB)], {}, "a: best fit: 25% reserved with it"),
        (
            Request(4),
            [ONE, Node("n2", 3, GIB), Node("n3", 8, GIB, ready=False)],
            {},
            "needs 4 cpus; of 3 nodes 2 short of cpus, 1 not ready; "
            "nearest: n2 has 3 cpus and 1 GiB free of 3 and 1 GiB",
        ),
    ],
)
def test_the_answer_says_why(request_: Request, nodes: list[Node], used: dict[str, Request], sentence: str) -> None:
    answer = place(request_, nodes, used)
    assert sentence == (f"{answer.node}: {answer.why}" if isinstance(answer, Placed) else answer.why)


def test_tenths_of_a_cpu_add_up() -> None:
    used = Request()
    for _ in range(20):
        assert isinstance(place(Request(0.1), [ONE], {"n1": used}), Placed)
        used = Request(used.cpus + 0.1, 0)
    assert isinstance(place(Request(0.1), [ONE], {"n1": used}), Refused)


@given(
    st.lists(st.tuples(st.floats(0.1, 8), st.integers(0, 8)), min_size=1, max_size=30),
    st.permutations(["a", "b", "c"]),
)
def test_no_node_is_ever_over_full_and_the_order_of_nodes_is_no_matter(
    asked: list[tuple[float, int]], order: list[str]
) -> None:
    sizes = {"a": Node("a", 4.0, 8 * GIB), "b": Node("b", 8.0, 4 * GIB), "c": Node("c", 2.0, 2 * GIB)}
    used: dict[str, Request] = {}
    for cpus, memory in asked:
        request = Request(cpus, memory * GIB)
        answer = place(request, [sizes[name] for name in order], used)
        assert answer == place(request, list(sizes.values()), used) or isinstance(answer, Refused)
        if isinstance(answer, Placed):
            taken = used.get(answer.node, Request())
            used[answer.node] = Request(taken.cpus + cpus, taken.memory + request.memory)
            assert used[answer.node].cpus <= sizes[answer.node].cpus + 1e-6
            assert used[answer.node].memory <= sizes[answer.node].memory
