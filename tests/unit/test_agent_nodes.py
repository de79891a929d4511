"""Virtual nodes: how they are written, that they are remembered, and that none claims what there is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.agent.nodes import Nodes, parse, reserve, this_machine
from orchestrator.agent.store import Store
from orchestrator.errors import Missing, Mistake
from orchestrator.scheduler.node import Node

GIB = 1 << 30
MACHINE = Node("here", 4.0, 8 * GIB, architecture="amd64", role="manager")


def test_they_and_what_was_asked_of_them_outlive_the_agent(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    nodes = Nodes(store, MACHINE)
    assert [node.name for node in nodes.all] == ["here"]
    nodes.define(["n1:cpus=1,memory=4G", "n2:cpus=2,memory=1G,label.disk=ssd,role=worker"])
    nodes.ask("n2", "drain")
    store.close()

    again = Nodes(store := Store(str(tmp_path)), MACHINE)
    assert again.all == (
        Node("n1", 1.0, 4 * GIB, architecture="amd64", role="manager"),
        Node("n2", 2.0, GIB, labels={"disk": "ssd"}, architecture="amd64", role="worker", cordoned=True, drained=True),
    )
    again.define(["n2", "n3:cpus=1"])
    assert [(node.name, node.drained) for node in again.all] == [("n2", True), ("n3", False)]
    again.define(["none"])
    assert again.all == (MACHINE,)
    with pytest.raises(Missing, match="there is none of this name; there are here"):
        again.ask("n1", "cordon")
    store.close()


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("n1:cpus=64", "it claims more cpus than this machine has (4)"),
        ("n1:memory=9G", "it claims more memory than this machine has (8G)"),
        ("n1:cpus=0", "a node without cpus or memory can take nothing"),
        ("n1:cpus=many", "expected a number of cpus"),
        ("n1:cpu=1", "expected cpus, memory, pids, role or label.NAME, but found 'cpu=1'"),
        ("-n:cpus=1", "expected NAME:cpus=CORES,memory=SIZE"),
    ],
)
def test_what_cannot_be_a_node_is_said(word: str, sentence: str) -> None:
    with pytest.raises(Mistake) as caught:
        parse([word, "twice", "twice"], MACHINE)
    assert sentence in str(caught.value) and "--node twice: a node called 'twice' is there already" in str(caught.value)


def test_what_is_kept_free(tmp_path: Path) -> None:
    assert reserve("cpus=0.5,memory=512M") == {"cpus": 0.5, "memory": 512 << 20}
    with pytest.raises(Mistake, match="expected cpus=CORES,memory=SIZE, but found 'disk=1'"):
        reserve("disk=1")
    whole = this_machine({})
    assert this_machine({"memory": GIB}).memory == whole.memory - GIB
    with pytest.raises(Mistake, match="leaves nothing"):
        this_machine({"cpus": whole.cpus})
