"""pyorch capacity: reserved, used (as measured just now) and free on each node, with a bar."""

from __future__ import annotations

from orchestrator.cli.option import Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HELP = """Show what is reserved, used (measured now) and free on each node, with a bar.

In the bar, # is reserved and used, = is reserved but idle, ! is used beyond what is reserved, . is free.
"""
EXAMPLES = """
  pyorch capacity
  pyorch capacity --format json
"""
OPTIONS = (Option("--format", kind="text", choices=("table", "json"), default="table", help="A table, or JSON."),)
ARGUMENTS = ()
WIDTH = 24


def run(given: Given) -> int:
    from orchestrator import units
    from orchestrator.cli.where import agent

    rows: list[dict[str, Any]] = agent(given).get("/v1/nodes")
    if given.format == "json":
        import json

        print(json.dumps([figures(row) for row in rows]))
        return 0
    from orchestrator.cli.nodes import note
    from orchestrator.cli.printing import table

    head = ("NODE", "", "RESERVED", "USED", "FREE", "OF", "")
    lines = []
    for row in rows:
        name = row["Name"] if row["State"] == "ready" else f"{row['Name']} ({row['State']})"
        lines.append(line(name, "cpus", row["Cpus"], units.human_cpus))
        lines.append(line("", "memory", row["Memory"], lambda amount: units.human_bytes(int(amount))))
    print(table(head, lines), end="")
    note(rows)
    return 0


def figures(row: dict[str, Any]) -> dict[str, Any]:
    """A node's figures with what is free of each: capacity less reservations."""
    kinds = {
        kind: row[kind] | {"free": max(row[kind]["capacity"] - row[kind]["reserved"], 0)} for kind in ("Cpus", "Memory")
    }
    return {"Name": row["Name"], "State": row["State"], **kinds}


def line(name: str, kind: str, amounts: dict[str, Any], word: Callable[[Any], str]) -> tuple[str, ...]:
    capacity, reserved, used = amounts["capacity"], amounts["reserved"], amounts["used"]
    free = max(capacity - reserved, 0)
    return (name, kind, word(reserved), word(used), word(free), word(capacity), bar(reserved, used, capacity))


def bar(reserved: float, used: float, capacity: float, width: int = WIDTH) -> str:
    """`[####====!...]`: see HELP."""
    if not capacity:
        return ""
    cells = [round(min(amount / capacity, 1.0) * width) for amount in (reserved, used)]
    both, kept = min(cells), cells[0]
    over = max(cells[1] - kept, 0)
    return f"[{'#' * both}{'=' * (kept - both)}{'!' * over}{'.' * (width - kept - over)}] {reserved / capacity:.0%}"
