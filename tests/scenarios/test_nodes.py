"""Virtual nodes: real containers placed on them, moved off them, and kept apart by them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.kernel import cgroups
from tests.scenarios.conftest import Pyorch

STACK = """
    name: shop
    services:
      web:       # the front
        image: host:/
        command: [sleep, '3600']
        stop_signal: SIGKILL
        deploy: {replicas: 2, resources: {reservations: {cpus: 0.25, memory: 128M}}}
      db:
        image: host:/
        command: [sleep, '3600']
        stop_signal: SIGKILL
        volumes: [data:/data]
        deploy:
          resources:
            reservations:
              cpus: 0.1     # little
              memory: 512M
    volumes: {data: {}}
"""


def nodes(pyorch: Pyorch) -> dict[str, dict[str, Any]]:
    return {row["Name"]: row for row in json.loads(pyorch.ok("nodes", "--format", "json"))}


def where(pyorch: Pyorch) -> dict[str, str]:
    """Running container → its node, from the bundles."""
    running = {name for name, row in pyorch.ps().items() if row["State"] == "running"}
    found = {}
    for name in running:
        found[name] = json.loads((pyorch.bundle(name) / "container.json").read_text())["node"]
    return found


def test_replicas_are_placed_moved_and_held_and_nodes_outlive_the_agent(pyorch: Pyorch) -> None:
    specs = ("n1:cpus=0.5,memory=1G", "n2:cpus=0.5,memory=1G,label.disk=ssd", "n3:cpus=0.25,memory=256M")
    pyorch.ok("agent", "start", *(word for spec in specs for word in ("--node", spec)))
    pyorch.up(STACK)
    before = where(pyorch)
    for name, row in nodes(pyorch).items():
        assert row["Containers"] == list(before.values()).count(name)
        assert row["Cpus"]["reserved"] <= row["Cpus"]["capacity"]
        assert row["Memory"]["reserved"] <= row["Memory"]["capacity"]

    home = before["shop-db-1"]
    pyorch.ok("drain", home)
    pyorch.until(lambda: nodes(pyorch)[home]["Containers"] == 1)  # the volume holds its replica
    pyorch.until(lambda: len(where(pyorch)) == 3)
    assert where(pyorch)["shop-db-1"] == home
    assert f"{home} is drained" in pyorch.run("plan", "stack.yaml").stdout
    pid = pyorch.pid("shop-db-1")

    pyorch.ok("agent", "stop")
    pyorch.ok("agent", "start")
    assert nodes(pyorch)[home]["State"] == "drained"
    assert nodes(pyorch)["n2"]["Labels"] == {"disk": "ssd"}
    assert pyorch.pid("shop-db-1") == pid
    pyorch.ok("uncordon", home)

    placed = json.loads(pyorch.ok("why", "db", "--format", "json"))["placements"]
    assert [(one["subject"], one["node"], one["nodes"]) for one in placed] == [("shop-db-1", home, 3)]
    table = {row["node"]: row for row in placed[0]["rows"]}
    assert table[home]["chosen"]
    assert table["n3"]["fault"] == "short of memory"
    assert "the nodes for shop-db-1, 2 of 3 could take it:" in pyorch.ok("why", "db")

    proposed = json.loads(pyorch.ok("rebalance", "--plan", "--format", "json"))["proposals"]
    made = json.loads(pyorch.ok("rebalance", "--now", "--format", "json"))["proposals"]
    assert made == proposed
    moves = {move["name"]: move["to"] for one in made for move in one["moves"]}
    pyorch.until(lambda: moves.items() <= where(pyorch).items())
    assert "[" in pyorch.ok("capacity")

    said = pyorch.run("drain", "n9")
    assert said.returncode == 1
    assert "there is none of this name; there are n1, n2, n3" in said.stderr


def test_advice_is_written_where_it_belongs_and_comments_stay(pyorch: Pyorch) -> None:
    pyorch.up(STACK)
    rows = {row["Service"]: row for row in json.loads(pyorch.ok("advise", "--format", "json"))}
    assert rows["db"]["Reserved"] == {"cpus": 0.1, "memory": 512 << 20}
    assert 0 < rows["db"]["Measured"]["memory"] < 256 << 20
    patch = pyorch.ok("advise")
    assert "memory: 512M" in patch and "+" in patch
    pyorch.ok("advise", "--write")
    text = (pyorch.directory / "stack.yaml").read_text()
    assert "# the front" in text and "# little" in text
    assert "memory: 512M" not in text
    pid = pyorch.pid("shop-db-1")
    pyorch.ok("up", "-d", "stack.yaml")
    assert pyorch.pid("shop-db-1") == pid, "another reservation replaces nothing"


def test_a_node_that_lies_is_refused(pyorch: Pyorch) -> None:
    said = pyorch.run("agent", "run", "--node", "n1:cpus=4096,memory=1G", "--node", "n1:cpus=1", "--node", "x y")
    assert said.returncode == 2
    for sentence in ("claims more cpus than this machine has", "expected NAME:cpus=CORES,memory=SIZE"):
        assert sentence in said.stderr


@contextmanager
def group_of_its_own(pyorch: Pyorch, cpus: float, memory: int) -> Iterator[list[Path]]:
    """A control group that may not use all of the machine, as a container or a unit has: its directories."""
    name = f"pyorch-{pyorch.root.instance}-tests"
    here = cgroups.hierarchy()
    if here.version == 2:
        made = {"unified": Path(f"{here.unified}/{name}")}
        limits = {"unified/cpu.max": f"{int(cpus * 100_000)} 100000", "unified/memory.max": str(memory)}
    else:
        made = {controller: Path(here.v1[controller]) / name for controller in ("cpu", "memory")}
        limits = {"cpu/cpu.cfs_quota_us": str(int(cpus * 100_000)), "memory/memory.limit_in_bytes": str(memory)}
    for directory in made.values():
        directory.mkdir()
    try:
        for file, value in limits.items():
            where, _, limit = file.partition("/")
            (made[where] / limit).write_text(value)
        yield list(made.values())
    finally:
        pyorch.run("agent", "stop", "--all")
        for directory in made.values():
            pyorch.until(lambda directory=directory: not (directory / "cgroup.procs").read_text())
            directory.rmdir()


def test_an_agent_has_no_more_to_give_than_its_own_control_group_may_use(pyorch: Pyorch) -> None:
    cpus = (os.cpu_count() or 1) - 0.5
    with group_of_its_own(pyorch, cpus, 1 << 30) as directories:
        enter = "".join(f"echo $$ > {directory}/cgroup.procs; " for directory in directories)
        start = " ".join(pyorch.command("agent", "start", "--reserve", f"cpus={cpus - 0.4},memory=24M"))
        subprocess.run(["sh", "-ec", f"{enter} exec {start}"], env=pyorch.environment, check=True)
        (row,) = nodes(pyorch).values()
        assert (row["Cpus"]["capacity"], row["Memory"]["capacity"]) == (0.4, 1000 << 20)
        pyorch.write(STACK)
        plan = pyorch.run("plan", "stack.yaml")
        assert "has 0.05 cpus and 360 MiB free of 0.4 and 1000 MiB" in plan.stdout, plan.stdout


DEVICES = """
    name: dev
    services:
      one:
        image: host:/
        command: [sh, -c, 'ls /dev/fuse /dev/net/tun; sleep 3600']
        stop_signal: SIGKILL
        deploy: {replicas: 3, resources: {reservations: {devices: [{capabilities: [gpu], count: 1}]}}}
      counted:
        image: host:/
        command: [sleep, '3600']
        stop_signal: SIGKILL
        deploy:
          placement: {constraints: [engine.labels.site == north, node.platform.os == linux]}
          resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: licence, value: 2}}]}}
      other:
        image: host:/
        command: [sleep, '3600']
        runtime: runsc
"""


def test_a_node_hands_each_device_to_one_replica_and_what_no_node_offers_is_said(pyorch: Pyorch) -> None:
    offered = "n1:cpus=1,memory=1G,device.gpu=/dev/fuse+/dev/net/tun"
    pyorch.ok(
        "agent", "start", "--node", offered, "--node", "n2:cpus=1,memory=1G,device.licence=3,engine_label.site=north"
    )
    pyorch.write(DEVICES)
    said = pyorch.run("plan", "stack.yaml").stdout
    assert "needs 1 gpu; of 2 nodes 2 short of gpu" in said
    assert "needs runtime runsc; of 2 nodes 2 without runtime runsc" in said
    pyorch.run("up", "-d", "--wait-timeout", "5", "stack.yaml")
    there = where(pyorch)
    assert there == {"dev-one-1": "n1", "dev-one-2": "n1", "dev-counted-1": "n2"}
    seen = {
        line.split()[-1]
        for name in ("dev-one-1", "dev-one-2")
        for line in pyorch.ok("logs", "--no-log-prefix", "one").splitlines()
        if line.startswith("/dev/")
    }
    assert seen == {"/dev/fuse", "/dev/net/tun"}
    offers = {name: row["Devices"] for name, row in nodes(pyorch).items()}
    assert offers == {"n1": {"gpu": {"capacity": 2, "reserved": 2}}, "n2": {"licence": {"capacity": 3, "reserved": 2}}}
    again = pyorch.run("agent", "start", "--node", "none")
    assert again.returncode == 1 and "the agent runs already" in again.stderr
    pyorch.run("down", "-t", "0", "stack.yaml")
    pyorch.ok("agent", "stop", "--all")
    wrong = pyorch.run("agent", "start", "--node", "n1:cpus=x", "--node", "n2:memory=900T")
    assert wrong.returncode == 2
    assert "2 mistakes found" in wrong.stderr
