"""pyorch nodes: each node with what is reserved on it and what is used."""

from __future__ import annotations

from orchestrator.cli.option import Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

HELP = """List the nodes: what is reserved, used (measured now) and free on each, what it offers, its labels.

The bar shows the scarcer of cpus and memory: # is reserved and used, = reserved but idle, ! used beyond what is
reserved, . free.
"""
EXAMPLES = """
  pyorch nodes
  pyorch nodes --format json
  pyorch agent run --node n1:cpus=1,memory=4G --node n2:cpus=1,memory=4G    virtual nodes on one machine
"""
OPTIONS = (Option("--format", kind="text", choices=("table", "json"), default="table", help="A table, or JSON."),)
ARGUMENTS = ()
HEAD = ("NAME", "STATE", "ROLE", "CONTAINERS", "CPUS RESERVED", "USED", "FREE", "MEMORY RESERVED", "USED", "FREE", "")
WIDTH = 10


def run(given: Given) -> int:
    from orchestrator.cli.where import agent

    rows: list[dict[str, Any]] = agent(given).get("/v1/nodes")
    if given.format == "json":
        import json

        print(json.dumps(rows))
        return 0
    from orchestrator.cli.printing import table

    print(table((*HEAD, "OFFERS", "LABELS"), [_cells(row) for row in rows]), end="")
    note(rows)
    return 0


def note(rows: list[dict[str, Any]]) -> None:
    """On stderr: what is not true of the nodes, where virtual ones claim more together than there is."""
    if rows and rows[0].get("Note"):
        from orchestrator.cli.printing import say

        say(rows[0]["Note"])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from orchestrator import units
    from orchestrator.cli.capacity import bar

    figures: list[str] = []
    for kind, word in (("Cpus", units.human_cpus), ("Memory", units.human_bytes)):
        capacity, reserved, used = (row[kind][key] for key in ("capacity", "reserved", "used"))
        figures += [f"{word(reserved)} of {word(capacity)}", word(used), word(max(capacity - reserved, 0))]
    scarcer = max((row["Cpus"], row["Memory"]), key=lambda one: one["reserved"] / (one["capacity"] or 1))
    filled = bar(scarcer["reserved"], scarcer["used"], scarcer["capacity"], WIDTH)
    offers = [f"{one['reserved']}/{one['capacity']} {kind}" for kind, one in row["Devices"].items()]
    labels = ",".join(f"{key}={value}" for key, value in row["Labels"].items())
    start = (row["Name"], row["State"], row["Role"], str(row["Containers"]))
    return (*start, *figures, filled, ",".join(offers), labels)
