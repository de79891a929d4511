"""`pyorch fit`: the answer on paper, its JSON, and advice that holds when it is followed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cli.main import main
from orchestrator.reconcile.fit import fit
from orchestrator.scheduler.node import Node, Request
from orchestrator.stack.model import Service, Stack
from tests.effort import examples

GIB, MIB = 1 << 30, 1 << 20
asked = st.builds(Request, st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0]), st.sampled_from([256 * MIB, GIB, 3000 * MIB]))


@settings(deadline=None, max_examples=examples(40))
@given(
    st.lists(st.tuples(asked, st.integers(1, 2)), min_size=2, max_size=6),
    st.lists(st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4])), min_size=1, max_size=4),
)
def test_advice_that_is_followed_helps(given_: list[tuple[Request, int]], sizes: list[tuple[int, int]]) -> None:
    services = {
        f"s{number}": Service(f"s{number}", "host:/", replicas=replicas, reservations=request)
        for number, (request, replicas) in enumerate(given_)
    }
    stack = Stack("shop", "/", (), services)
    nodes = [Node(f"n{number}", cpus, memory * GIB) for number, (cpus, memory) in enumerate(sizes)]
    before = fit(stack, nodes)
    for one, answer in before.refused:
        for way in answer.fixes:
            if way.kind != "lower":
                continue
            old = services[one.service].reservations
            less = Request(old.cpus if way.cpus is None else way.cpus, way.memory or old.memory)
            changed = {**services, one.service: replace(services[one.service], reservations=less)}
            after = fit(replace(stack, services=changed), nodes)
            assert len(after.refused) < len(before.refused)


STACK = """
services:
  web: {image: "host:/", deploy: {replicas: 5, resources: {reservations: {cpus: 0.5, memory: 512M}}}}
  db: {image: "host:/", ports: ["5432:5432"], deploy: {resources: {reservations: {cpus: 2, memory: 2G}}}}
  search: {image: "host:/", deploy: {resources: {reservations: {cpus: 1, memory: 2G}}}}
"""
NODES = "nodes: [{name: n1, cpus: 4, memory: 4G}, {name: n2, cpus: 2, memory: 2G}]\n"


def files(tmp_path: Path, nodes: str = NODES) -> list[str]:
    (tmp_path / "stack.yaml").write_text("name: shop\n" + STACK)
    (tmp_path / "nodes.yaml").write_text(nodes)
    return [str(tmp_path / "stack.yaml"), "--nodes", str(tmp_path / "nodes.yaml")]


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *files(tmp_path), "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"placed", "refused", "nodes_used", "bound", "seconds"}
    assert {"service": "db", "slot": 1, "node": "n1"} in found["placed"]
    (refused,) = found["refused"]
    assert (refused["service"], refused["slot"]) == ("search", 1)
    assert {(reason["filter"], reason["nodes"]) for reason in refused["reasons"]} == {("memory", 2), ("cpus", 1)}
    assert refused["nearest"]["node"] == "n1" and refused["nearest"]["short"] == {"memory": 512 * MIB}
    assert refused["fixes"][0]["memory"] == 1536 * MIB


def test_in_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *files(tmp_path)]) == 1
    assert capsys.readouterr().out == (
        "NODE   REPLICAS\n"
        "n2     web 1-4\n"
        "n1     web 5, db 1\n"
        "refused search 1: needs 1 cpu and 2 GiB; of 2 nodes 2 short of memory, 1 short of cpus; nearest: n1 has 1.5"
        " cpus and 1.5 GiB free of 4 and 4 GiB; would fit: lower search memory 2G → 1.5G, or stop shop-web-5 on n1:"
        " frees 512M and 0.5 cpus\n"
        "6 of 7 replicas placed on 2 of 2 nodes (all of them need at least 2)\n"
    )


def test_on_the_fewest_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = files(tmp_path, "shape: {cpus: 4, memory: 4G}\ncount: 10\n")
    assert main(["fit", *words, "--batch", "--fewest", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["nodes_used"], found["bound"]) == (2, 2)


def test_what_was_meant_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = files(tmp_path)
    assert main(["fit", words[0]]) == 2
    assert main(["fit", *words, "--fewest"]) == 2
    assert main(["fit", *words, "--batch", "--fewest"]) == 2
    assert main(["simulate", *words, "--kill", "n3@5s", "--drain", "n1", "--cordon", "n1@soon"]) == 2
    said = capsys.readouterr().err
    for sentence in (
        "name their file by --nodes FILE",
        "write --batch --fewest",
        "they must have one shape",
        "--kill n3@5s: there is no node 'n3'",
        "--drain n1: expected NODE@TIME, such as n2@5s",
        "--cordon n1@soon: expected a duration",
    ):
        assert sentence in said


def test_simulate_tells_what_happens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *files(tmp_path), "--kill", "n2@5s", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {"time": 5.0, "text": "n2 dies, and with it shop-db-1"} in found["timeline"]
    assert found["holds"] and found["nodes_used"] == 1
