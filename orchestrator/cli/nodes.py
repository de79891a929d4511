"""pyorch nodes: each node with what is reserved on it and what is used."""

from __future__ import annotations

from orchestrator.cli.option import Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

HELP = """List the nodes: their state, how many containers run there, and what is reserved of how much."""
EXAMPLES = """
  pyorch nodes
  pyorch nodes --format json
  pyorch agent run --node n1:cpus=1,memory=4G --node n2:cpus=1,memory=4G    virtual nodes on one machine
"""
OPTIONS = (Option("--format", kind="text", choices=("table", "json"), default="table", help="A table, or JSON."),)
ARGUMENTS = ()
HEAD = ("NAME", "STATE", "ROLE", "CONTAINERS", "CPUS RESERVED", "MEMORY RESERVED", "LABELS")


def run(given: Given) -> int:
    from orchestrator import units
    from orchestrator.cli.where import agent

    rows: list[dict[str, Any]] = agent(given).get("/v1/nodes")
    if given.format == "json":
        import json

        print(json.dumps(rows))
        return 0
    from orchestrator.cli.printing import table

    cells = []
    for row in rows:
        cpus, memory = row["Cpus"], row["Memory"]
        cells.append(
            (
                row["Name"],
                row["State"],
                row["Role"],
                str(row["Containers"]),
                f"{units.human_cpus(cpus['reserved'])} of {units.human_cpus(cpus['capacity'])}",
                f"{units.human_bytes(memory['reserved'])} of {units.human_bytes(memory['capacity'])}",
                ",".join(f"{key}={value}" for key, value in row["Labels"].items()),
            )
        )
    print(table(HEAD, cells), end="")
    return 0
