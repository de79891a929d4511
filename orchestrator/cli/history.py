"""pyorch history: what was applied when, by whose word, and how it went."""

from __future__ import annotations

from orchestrator.cli.option import Given, Option

HELP = """List the revisions of the stack, the newest first: when, why, how it went, and what was different.

The 25 newest are kept. `pyorch diff` shows what two of them have otherwise, `pyorch rollback` goes back to one.
"""
EXAMPLES = """
  pyorch history                  a table
  pyorch history --format json    one JSON object a line
"""
OPTIONS = (
    Option(
        "--format", kind="text", choices=("table", "json"), default="table", help="A table, or JSON, an object a line."
    ),
)
ARGUMENTS = ()
HEAD = ("REVISION", "TIME", "OUTCOME", "CAUSE", "CHANGES")


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, deed_path, stack_name

    client = agent(given)
    rows = client.get(deed_path(stack_name(given, client), "history"))
    if given.format == "json":
        import json

        print("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), end="")
        return 0
    from orchestrator.cli.printing import table

    cells = []
    for row in rows:
        outcome = row["Outcome"] + (f": {row['Why']}" if row["Why"] else "")
        star = "*" if row["Present"] else ""
        cells.append((f"{row['Revision']}{star}", row["Time"], outcome, row["Cause"], row["Changes"]))
    print(table(HEAD, cells), end="")
    return 0
