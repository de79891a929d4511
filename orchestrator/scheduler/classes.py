"""Which nodes are alike: those of one class differ in their names and in what lies on them, and in nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.scheduler.node import Node
from orchestrator.scheduler.score import CORE


def by_class(nodes: Iterable[Node]) -> tuple[list[Node], list[int]]:
    """The nodes, those of one class together, and the class of each. Equals go by name, n2 before n10."""
    ordered = sorted(nodes, key=lambda node: _natural(node.name))
    found: dict[object, list[Node]] = {}
    for node in ordered:
        found.setdefault(_kind(node), []).append(node)
    groups = list(found.values())
    return [node for group in groups for node in group], [n for n, group in enumerate(groups) for _ in group]


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if number % 2 else (1, 0, part) for number, part in enumerate(parts)]


def _kind(node: Node) -> object:
    """Everything but the name. Flags of one node (cordoned …) make it a class of its own: that is right."""
    sets = (node.labels, node.devices, node.engine_labels)
    plain = (node.cpus, node.memory, node.ready, node.pids, node.runtimes, node.architecture, node.os, node.role)
    flags = (node.cordoned, node.drained, node.cpu_ratio, node.memory_ratio)
    return (plain, flags, *(frozenset(one.items()) for one in sets))


def room(node: Node) -> tuple[int, int]:
    """What may be reserved: millionths of a core, bytes."""
    return round(node.cpus * node.cpu_ratio * CORE), int(node.memory * node.memory_ratio)
