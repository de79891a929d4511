"""pyorch advise: reservations beside what was measured, and the patch that would set them right."""

from __future__ import annotations

from orchestrator.cli.option import Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

HELP = """Compare what services reserve with what they have used, and print the change of the stack file as a patch.

Measured: the peak of memory, processor time now and on average, throttling, pressure stalls (cgroup v2).
"""
EXAMPLES = """
  pyorch advise             a table, and a patch
  pyorch advise --write     change the file; comments and order stay
  pyorch advise | patch     the same by hand
"""
OPTIONS = (
    Option("--write", help="Write it into the stack file."),
    Option("--format", kind="text", choices=("text", "json"), default="text", help="How it is printed."),
)
ARGUMENTS = ()
HEAD = ("SERVICE", "", "RESERVED", "MEASURED", "ADVICE", "NOTE")


def run(given: Given) -> int:
    import sys

    from orchestrator.cli.printing import table
    from orchestrator.cli.where import agent, deed_path, files, stack_name

    client = agent(given)
    rows: list[dict[str, Any]] = client.get(deed_path(stack_name(given, client), "advise"))
    if given.format == "json":
        import json

        print(json.dumps(rows))
        return 0
    # The table is for the reader, the patch for `patch`.
    print(table(HEAD, [cell for row in rows for cell in cells(row)]), end="", file=sys.stderr)
    for file in files(given):
        patch = change(file, rows, write=given.write)
        print(patch, end="")
        if patch and given.write:
            print(f"{file} was written; `pyorch up` brings it into effect", file=sys.stderr)
    return 0


def cells(row: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    """Two lines of the table: cpus and memory."""
    stall = {kind: f"waits {share:.0%} of the time" for kind, share in row["Pressure"].items() if share >= 0.05}
    for kind in ("cpus", "memory"):
        better = row["Advice"][kind]
        notes = [row["Limit"] if kind == "cpus" else "", stall.get("cpu" if kind == "cpus" else kind, "")]
        yield (
            row["Service"] if kind == "cpus" else "",
            kind,
            amount(kind, row["Reserved"][kind]),
            amount(kind, row["Measured"][kind]),
            "fine" if better is None else amount(kind, better),
            "; ".join(filter(None, notes)),
        )


def change(file: str, rows: list[dict[str, Any]], *, write: bool) -> str:
    """The patch of one file: of those services that stand in it."""
    import difflib
    import os

    import yaml

    from orchestrator.errors import HostRefused
    from orchestrator.stack.edit import edited

    with open(file, encoding="utf-8") as opened:
        before = opened.read()
    here = (yaml.safe_load(before) or {}).get("services") or {}
    values: dict[tuple[str, ...], str] = {}
    for row in rows:
        for kind in ("cpus", "memory"):
            better = row["Advice"][kind]
            if better is not None and isinstance(here.get(row["Service"]), dict):
                for path in places(here[row["Service"]], kind):
                    values["services", row["Service"], *path] = amount(kind, better)
    after = edited(before, values)
    if write and after != before:
        whole = os.path.realpath(file)  # a link stays one
        try:
            with open(f"{whole}.new", "w", encoding="utf-8") as opened:
                opened.write(after)
                facts = os.stat(whole)
                os.fchown(opened.fileno(), facts.st_uid, facts.st_gid)
                os.fchmod(opened.fileno(), facts.st_mode & 0o7777)
            os.replace(f"{whole}.new", whole)
        except OSError as error:
            raise HostRefused(f"cannot write '{file}': {error.strerror}") from error
    name = os.path.relpath(file)
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"{name}", f"{name}", n=2))


def places(service: Mapping[str, Any], kind: str) -> list[tuple[str, ...]]:
    """Where a reservation stands, below the service. `mem_reservation` is the older word; Compose asks that both say
    the same as soon as `deploy` reserves anything."""
    long = ("deploy", "resources", "reservations", kind)
    older = kind == "memory" and service.get("mem_reservation") is not None
    return [("mem_reservation",), long] if older else [long]


def amount(kind: str, value: float) -> str:
    """As the stack file says it."""
    from orchestrator import units

    return units.human_cpus(value) if kind == "cpus" else units.human_bytes(int(value))
