"""Placement words: what they become, what the scheduler is asked, and that they survive being kept."""

from __future__ import annotations

from pathlib import Path

from orchestrator.scheduler.node import Affinity, Constraint, HostPort, Request
from orchestrator.stack import store
from orchestrator.stack.load import load
from orchestrator.stack.model import Stack
from orchestrator.stack.placement import asked

TEXT = """
name: shop
x-pyorch: {gang: true, quota: {cpus: 8, memory: 12G}, reserve: {cpus: 0.5, memory: 512M}}
services:
  cache: {image: "host:/"}
  web:
    image: host:/
    platform: linux/amd64
    ports: ["8080:80", "9090"]
    volumes: ["data:/data", "mine:/mine", "./:/here"]
    x-pyorch:
      priority: 80
      affinity: [{with: cache, weight: 7}, {apart_from: web, required: true}, {node: {ssd: "true"}}]
    deploy:
      mode: global-job
      placement:
        constraints: [node.labels.disk==ssd, "node.role != manager"]
        preferences: [{spread: node.labels.zone}]
        max_replicas_per_node: 2
      resources:
        limits: {pids: 100}
        reservations: {cpus: 0.5, memory: 64M, devices: [{capabilities: [gpu], count: 2}]}
volumes: {data: {}, mine: {external: true}}
"""


def loaded(tmp_path: Path, text: str = TEXT) -> Stack:
    file = tmp_path / "stack.yaml"
    file.write_text(text)
    return load([str(file)], directory=str(tmp_path), environment={})


def test_what_a_replica_asks_of_its_node(tmp_path: Path) -> None:
    stack = loaded(tmp_path)
    assert asked(stack.services["web"], stack) == Request(
        cpus=0.5,
        memory=64 << 20,
        pids=100,
        devices=(("gpu", 2),),
        ports=(HostPort(8080, "tcp", "127.0.0.1"),),
        architecture="amd64",
        constraints=(Constraint("node.labels.disk", "ssd"), Constraint("node.role", "manager", equal=False)),
        service="shop/web",
        per_node=2,
        volumes=("shop_data",),
        spread=("node.labels.zone",),
        affinities=(
            Affinity(7, "shop/cache"),
            Affinity(-10, "shop/web", required=True),
            Affinity(10, label=("ssd", "true")),
        ),
        priority=80,
        spare_cpus=0.5,
        spare_memory=512 << 20,
    )
    assert stack.services["web"].job == "once-per-change"
    assert (stack.shares.gang, stack.shares.quota_cpus, stack.shares.quota_memory) == (True, 8.0, 12 << 30)


def test_what_is_kept_is_what_was_read(tmp_path: Path) -> None:
    stack = loaded(tmp_path)
    assert store.from_json(store.to_json(stack)) == stack


def test_a_change_of_placement_replaces_nothing(tmp_path: Path) -> None:
    from orchestrator.reconcile.replica import digest, meaning

    before, after = loaded(tmp_path), loaded(tmp_path, TEXT.replace("priority: 80", "priority: 20"))
    digests = [digest(meaning(stack.services["web"], stack)) for stack in (before, after)]
    assert digests[0] == digests[1]
