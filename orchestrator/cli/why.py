"""pyorch why: one causal answer."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

HELP = """Say why a service is as it is.

What one sees, what causes it, what all of it comes from, what had changed since it was last well, what happens next;
and how the nodes of its replicas were chosen.

Exit code: 0 it is well, 1 it is not.
"""
EXAMPLES = """
  pyorch why web                  in sentences
  pyorch why web --index 2        with the score table by which the second replica got its node
  pyorch why web --format json    for programs
"""
OPTIONS = (
    Option("--index", kind="integer", metavar="N", help="Whose placement is shown (else the latest)."),
    Option("--format", kind="text", choices=("text", "json"), default="text", help="How it is printed."),
)
ARGUMENTS = (Argument("service", metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.printing import printable
    from orchestrator.cli.scores import scores, shown
    from orchestrator.cli.where import agent, deed_path, stack_name

    client = agent(given)
    found = client.get(deed_path(stack_name(given, client), "why"), service=given.service)
    if given.format == "json":
        import json

        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(printable, _lines(found))))
        print(scores(shown(found["placements"], given.index)), end="")
    return 0 if found["well"] else 1


def _lines(found: dict[str, Any]) -> Iterator[str]:
    first, *rest = found["chain"]
    yield f"{first['service']} is {first['state']}: {first['why']}"
    for link in rest:
        last = link is rest[-1]
        yield f"{'root' if last else 'because'}  {link['service']} is {link['state']}: {link['why']}"
    if found["probe"]:
        yield f"probe    {found['probe'].splitlines()[-1]}"
    for line in found["log"]:
        yield f"log      {line}"
    if found["last_well"] and found["last_well"] != "now":
        yield f"well     {found['root']} was last well at {found['last_well']}"
    for change in found["changed"]:
        yield f"changed  {change}"
    if not found["well"]:
        if not found["changed"]:
            yield f"changed  nothing in its definition (revision {found['revision']}, {found['cause'] or 'unknown'})"
        for event in found["since"]:
            yield f"since    {event['time']} {event['action']} {event['subject']}" + (
                f": {event['why']}" if event["why"] else ""
            )
    yield f"next     {found['next']}"
    for placement in found["placements"]:
        where = f"on {placement['node']}: " if placement["node"] else ""
        yield f"place    {placement['subject']} {where}{placement['why']}"
