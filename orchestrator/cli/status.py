"""pyorch status: how the stack stands."""

from __future__ import annotations

import time

from orchestrator.cli.option import Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

HELP = """Show how the stack stands: wanted against actual, health, drift, what is held back and why.

Exit code: 0 all as wanted, 1 not.
"""
EXAMPLES = """
  pyorch status                  a line a service, and what is amiss
  pyorch status --format json    for programs
"""
OPTIONS = (Option("--format", kind="text", choices=("table", "json"), default="table", help="How it is printed."),)
ARGUMENTS = ()
HEAD = ("SERVICE", "WANTED", "RUNNING", "SYNC", "HEALTH", "WHAT IS AMISS")
WELL = ("healthy", "done", "stopped")


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, deed_path, stack_name

    client = agent(given)
    found = client.get(deed_path(stack_name(given, client), "status"))
    if given.format == "json":
        import json

        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print(_text(found), end="")
    return 0 if found["Sync"] == "synced" and found["Health"] in WELL else 1


def _text(found: dict[str, Any]) -> str:
    from orchestrator.cli.printing import printable, table

    head = f"{found['Name']}: revision {found['Revision']} ({found['Outcome']}), {found['Sync']}, {found['Health']}\n"
    rows = []
    for row in found["Services"]:
        amiss = [*row["Drift"], *(f"{hold['subject']}: {hold['why']}" for hold in row["Holds"]), *row["Ills"]]
        if row["Suspended"]:
            amiss = [f"suspended {row['Suspended']}"]
        cells = (row["Service"], str(row["Wanted"]), str(row["Running"]), row["Sync"], row["Health"])
        rows.append((*cells, amiss[0] if amiss else ""))
        rows += [("", "", "", "", "", line) for line in amiss[1:]]
    files = "".join(f"changed and not applied: {printable(file)}\n" for file in found["Files"])
    drift = "".join(f"drift: {printable(line)}\n" for line in found["Drift"])
    return head + _source(found["Source"]) + table(HEAD, rows) + drift + files


def _source(source: dict[str, Any] | None) -> str:
    """What it follows, and how far it is: the axis of its sync beside that of its health."""
    if source is None:
        return ""
    from orchestrator.cli.printing import printable
    from orchestrator.units import human_seconds

    told = f"source {source['Name']} ({source['Repo']} {source['Ref']}): {source['Sync']}, {source['Why']}"
    good = f"; good is {source['Good'][:8]}" if source["Good"] != source["Head"] and source["Good"] else ""
    age = f" for {human_seconds(int(max(time.time() - source['Since'], 0)))}" if source["Since"] else ""
    newest = f"; newest: {source['Headline']}" if source["Headline"] else ""
    return printable(f"{told}{age if not good else ''}{good}{age if good else ''}{newest}") + "\n"
