"""pyorch system: what everything takes on the disk."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Look at the disk."""


class Df:
    """`system df`"""

    HELP = """Say what images, containers and volumes take on the disk, and how much of it nothing needs."""
    EXAMPLES = """
  pyorch system df
  pyorch system df --format json
"""
    OPTIONS = (
        Option("--format", kind="text", choices=("table", "json"), default="table", help="A table, or JSON lines."),
    )
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.image_work import amount
        from orchestrator.cli.printing import table
        from orchestrator.cli.where import ensured

        rows = [
            {
                "Type": row["Type"],
                "TotalCount": str(row["TotalCount"]),
                "Active": str(row["Active"]),
                "Size": amount(row["size"]),
                "Reclaimable": f"{amount(row['reclaimable'])} ({row['reclaimable'] * 100 // (row['size'] or 1)}%)",
            }
            for row in ensured(given).get("/v1/system/df")
        ]
        if given.format == "json":
            import json

            print("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), end="")
        else:
            head = ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE")
            print(table(head, [tuple(row.values()) for row in rows]), end="")
        return 0


COMMANDS = {"df": Df}
