"""Virtual nodes: how they are written, that they are remembered, and that none claims what there is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.agent.node_words import parse, reserve, this_machine
from orchestrator.agent.nodes import Nodes
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
        (
            "n1:cpu=1",
            "expected cpus, memory, pids, role, label.NAME, engine_label.NAME or device.KIND, but found 'cpu=1'",
        ),
        ("-n:cpus=1", "expected NAME:cpus=CORES,memory=SIZE"),
        ("n1:pids=-5", "expected a whole number, 1 or more, but found '-5'"),
        ("n1:cpus=1,cpus=2", "cpus is written twice"),
        ("n1:label.=x", "expected cpus, memory"),
        ("n1:role=king", "expected role=manager or role=worker, but found 'role=king'"),
        ("n1:runtime=runsc", "it has no other OCI runtime to offer"),
        ("n1:device.gpu=/dev/none", "cannot offer /dev/none: no such file or directory"),
        ("n1:device.gpu=/etc/passwd", "cannot offer /etc/passwd: it is no device file"),
        ("n1:device.gpu=0", "expected a whole number, 1 or more, but found '0'"),
        ("none", "it makes the machine one node again, and stands alone"),
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


def test_what_a_node_offers(tmp_path: Path) -> None:
    nodes = Nodes(store := Store(str(tmp_path)), MACHINE)
    nodes.define(["n1:device.gpu=/dev/null+/dev/zero,device.licence=3,engine_label.gpu=fast", "n2"])
    one, other = nodes.all
    assert (one.devices, one.engine_labels) == ({"gpu": 2, "licence": 3}, {"gpu": "fast"})
    assert nodes.devices("n1") == {"gpu": ["/dev/null", "/dev/zero"]}
    assert (other.devices, nodes.devices("n2")) == ({}, {})
    assert nodes.note == "the nodes claim 8 cpus and 16G of memory together, and this machine has 4 cpus and 8G"
    store.close()


def test_a_node_never_has_more_than_the_machine_has_now(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    Nodes(store, MACHINE).define(["n1:cpus=3,memory=6G"])
    (smaller,) = Nodes(store, replace(MACHINE, cpus=2.0, memory=4 * GIB)).all
    assert (smaller.cpus, smaller.memory) == (2.0, 4 * GIB)
    store.close()
