"""pyorch state: how the stack was at some moment."""

from __future__ import annotations

from orchestrator.cli.option import Given, Option

HELP = """Show how the stack was at some moment, as its events tell.

The latest 20 000 events of this machine are kept, for 90 days; before the first of them nothing is known.
"""
EXAMPLES = """
  pyorch state --at 10m                      ten minutes ago
  pyorch state --at 2026-01-31T12:00:00 --format json
"""
OPTIONS = (
    Option("--at", kind="text", metavar="TIME", default="0s", help="10m ago, 2026-01-31T12:00:00, seconds since 1970."),
    Option("--format", kind="text", choices=("table", "json"), default="table", help="How it is printed."),
)
ARGUMENTS = ()
HEAD = ("NAME", "SERVICE", "STATE", "HEALTH", "SINCE", "WHY")


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, deed_path, stack_name

    client = agent(given)
    found = client.get(deed_path(stack_name(given, client), "state"), at=given.at)
    if given.format == "json":
        import json

        print(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    from orchestrator.cli.printing import table

    known = f"known since {found['known_since']}" if found["known_since"] else "nothing is known of that time"
    print(f"at {found['at']}: {found['revision'] or 'no revision'} ({known})")
    keys = ("name", "service", "state", "health", "since", "why")
    print(table(HEAD, [tuple(str(row.get(key) or "") for key in keys) for row in found["containers"]]), end="")
    return 0
