"""pyorch doctor: what this machine has of what pyorch needs. In this process; it looks and changes nothing."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Name what this machine lacks, and the remedy. Exit code 1 where something is missing."""
EXAMPLES = """
  sudo pyorch doctor            as root: some things only root can see
  pyorch doctor --format json   an object a line: name, ok, found, fix
"""
OPTIONS = (
    Option(
        "--format", kind="text", choices=("table", "json"), default="table", help="A table, or JSON, an object a line."
    ),
    Option("-q", "--quiet", help="Only what is missing."),
)
ARGUMENTS: tuple[Argument, ...] = ()


def run(given: Given) -> int:
    from orchestrator.cli.printing import table
    from orchestrator.kernel.features import features

    found = features()
    shown = [feature for feature in found if not (given.quiet and feature.ok)]
    missing = sum(not feature.ok for feature in found)
    if given.format == "json":
        import json

        print("".join(json.dumps(feature._asdict(), ensure_ascii=False) + "\n" for feature in shown), end="")
    elif shown:
        rows = [(feature.name, "ok" if feature.ok else "MISSING", feature.found, feature.fix) for feature in shown]
        print(table(("FEATURE", "STATE", "FOUND", "REMEDY"), rows), end="")
    if missing and given.format == "table":
        print(f"{missing} of {len(found)} missing: containers cannot run here before that is mended")
    return 1 if missing else 0
