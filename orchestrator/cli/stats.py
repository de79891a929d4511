"""pyorch stats: what the services' containers use, as it changes."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.api.client import Client

HELP = """Show what containers use of processor, memory, network and disk, each second anew; Ctrl-C ends it."""
EXAMPLES = """
  pyorch stats
  pyorch stats --no-stream --format json web
"""
OPTIONS = (
    Option("-a", "--all", help="Accepted for compatibility: what does not run uses nothing.", hidden=True),
    Option("--format", kind="text", choices=("table", "json"), default="table", help="A table, or an object a line."),
    Option("--no-stream", help="Once, over the second to come."),
    Option("--no-trunc", help="Do not shorten ids."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)
HEAD = ("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS")
KEYS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
PACE = 1.0  # seconds between two looks


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, deed_path, stack_name

    client = agent(given)
    path = deed_path(stack_name(given, client), "stats")
    machine = int(client.get("/v1/info")["node"]["memory"])
    try:
        before = _look(client, path, given)
        while True:
            before = _show(given, before, _after(client, path, given), machine)
            if given.no_stream:
                return 0
    except KeyboardInterrupt:
        return 0


def _look(client: Client, path: str, given: Given) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(path, services=",".join(given.services) or None)
    return found


def _after(client: Client, path: str, given: Given) -> list[dict[str, Any]]:
    import time

    time.sleep(PACE)
    return _look(client, path, given)


def _show(given: Given, before: list[dict[str, Any]], now: list[dict[str, Any]], machine: int) -> list[dict[str, Any]]:
    earlier = {row["ID"]: row["Used"] for row in before}
    rows = [said(row, earlier.get(row["ID"], row["Used"]), machine) for row in now]
    if given.format == "json":
        import json

        for row in rows:
            print(json.dumps(row), flush=True)
        return now
    import sys

    from orchestrator.cli.printing import live, table

    wipe = "\x1b[2J\x1b[H" if live(given, 1) and not given.no_stream else ""
    sys.stdout.write(wipe + table(HEAD, [[row[key] for key in KEYS] for row in rows]))
    sys.stdout.flush()
    return now


def said(row: dict[str, Any], before: dict[str, int], machine: int) -> dict[str, Any]:
    """One container in the fields of `docker stats --format json`."""
    used = row["Used"]
    span = max(used["at"] - before["at"], 1)
    limit = min(used["limit"] or machine, machine)
    return {
        "BlockIO": f"{decimal(used['read'])} / {decimal(used['written'])}",
        "CPUPerc": f"{100 * (used['cpu'] - before['cpu']) / span:.2f}%",
        "Container": row["ID"],
        "ID": row["ID"],
        "MemPerc": f"{100 * used['memory'] / limit:.2f}%",
        "MemUsage": f"{binary(used['memory'])} / {binary(limit)}",
        "Name": row["Name"],
        "NetIO": f"{decimal(used['received'])} / {decimal(used['sent'])}",
        "PIDs": str(used["pids"]),
    }


def decimal(amount: float) -> str:
    """1.23MB: three digits, powers of 1000, as Docker writes what has travelled."""
    return _shown(amount, 1000, ("B", "kB", "MB", "GB", "TB", "PB"), 3)


def binary(amount: float) -> str:
    """1.234MiB: four digits, powers of 1024, as Docker writes memory."""
    return _shown(amount, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), 4)


def _shown(amount: float, base: int, names: tuple[str, ...], digits: int) -> str:
    power = 0
    while amount >= base and power < len(names) - 1:
        amount, power = amount / base, power + 1
    return f"{amount:.{digits}g}{names[power]}"
