"""`python -m bench decider`: one turn of the decider when nothing is to be done, and what a container costs it."""

from __future__ import annotations

import gc
import tempfile
import time
import tracemalloc
from pathlib import Path
from statistics import median

from bench.figures import Table, at_most
from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.simulate import simulate
from orchestrator.reconcile.world import Wanted, World
from orchestrator.scheduler.node import Node
from orchestrator.stack.load import load
from orchestrator.stack.model import Stack

SERVICES, REPLICAS = 1000, 5
NODE = Node("here", 10_000.0, 1 << 50)


def measure(table: Table) -> None:
    table.head(f"The decider: {SERVICES:,} services, {SERVICES * REPLICAS:,} containers")
    stack = _stack()
    wanted = Wanted(stack, active=frozenset(stack.services))
    tracemalloc.start()
    world = _settled(stack)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    assert not reconcile([wanted], world, 1e3).actions, "there is something to do"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    seconds = []
    for turn in range(20):
        began = time.perf_counter()
        reconcile([wanted], world, 1e3 + turn)
        seconds.append(time.perf_counter() - began)
    table.line("a turn with nothing to do", at_most(0.02, "ms"), median(seconds))
    table.line("memory, a container, in a turn's midst", at_most(2000, "kB"), peak / len(world.containers))
    print(f"  of it kept between turns: {held / len(world.containers):.0f} bytes")


def _stack() -> Stack:
    """As people write them: a health check, a dependency, limits, an environment."""
    rows = [
        f"  s{n}: {{image: 'host:/', command: [sleep, '1'], environment: {{N: '{n}'}}, "
        f"depends_on: [{f's{n - 1}' if n % 10 else ''}], healthcheck: {{test: [CMD, 'true']}}, "
        f"deploy: {{replicas: {REPLICAS}, resources: {{reservations: {{cpus: '0.1', memory: 64M}}}}}}}}"
        for n in range(SERVICES)
    ]
    with tempfile.TemporaryDirectory(prefix="pyorch-bench-") as room:
        file = Path(room, "stack.yaml")
        file.write_text("\n".join(["name: decider", "services:", *rows, ""]))
        return load([str(file)], directory=room, environment={})


def _settled(stack: Stack) -> World:
    containers = simulate(stack, [NODE]).containers
    return World((NODE,), containers, frozenset(network.name for network in stack.networks.values()))
