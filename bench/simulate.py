"""`python -m bench simulate`: ten thousand nodes and a hundred thousand replicas, as a whole process."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from bench import process
from bench.figures import Table, at_most

PYORCH = os.path.join(os.path.dirname(sys.executable), "pyorch")
NODES, SERVICES, REPLICAS = 10_000, 1_000, 100


def measure(table: Table) -> None:
    table.head(f"simulate: {NODES:,} nodes, {SERVICES * REPLICAS:,} replicas, a node dies")
    with tempfile.TemporaryDirectory(prefix="pyorch-bench-") as room:
        nodes, stack = Path(room, "nodes.yaml"), Path(room, "stack.yaml")
        sizes = [f"  - {{name: n{n}, cpus: {16 << n % 2}, memory: 64G}}" for n in range(NODES)]
        nodes.write_text("\n".join(["nodes:", *sizes, ""]))
        rows = [
            f"  s{n}: {{image: 'host:/', deploy: {{replicas: {REPLICAS}, "
            f"resources: {{reservations: {{cpus: '{(n % 8 + 1) / 4}', memory: {(n % 5 + 1) * 256}M}}}}}}}}"
            for n in range(SERVICES)
        ]
        stack.write_text("\n".join(["name: large", "services:", *rows, ""]))
        run = process.run(PYORCH, "simulate", str(stack), "--nodes", str(nodes), "--kill", "n1@5s")
    table.line("the whole command", at_most(60.0, "s"), run.seconds)
    table.line("its memory (resident, at most)", at_most(2e9, "MB"), run.resident)
