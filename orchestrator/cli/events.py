"""pyorch events: what happens, and why, as it happens."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

HELP = """Show what happens, and why, as it happens."""
EXAMPLES = """
  pyorch events                       from now on, until Ctrl-C
  pyorch events --since 10m db        what happened to db in the last ten minutes, and goes on
  pyorch events --since 1h --until 30m   half an hour, half an hour ago
  pyorch events --json --no-follow --since 0    all that is recorded, one JSON object a line
"""
OPTIONS = (
    Option("--json", help="One JSON object a line."),
    Option("--format", kind="text", choices=("text", "json"), default="text", help="How it is printed."),
    Option("--since", kind="text", metavar="TIME", help="From then on: 10m, 2026-01-31T12:00:00, seconds since 1970."),
    Option("--until", kind="text", metavar="TIME", help="Up to then, and end."),
    Option("--follow", help="What is to come, too; so it is unless --no-follow is given."),
    Option("--no-follow", help="What is recorded, and end."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, stack_name

    client = agent(given)
    name = stack_name(given, client)
    _know(given, client, name)
    query = {"stack": name, "since": given.since, "until": given.until, "follow": int(not given.no_follow)}
    try:
        for event in client.open("GET", "/v1/events", query=query).messages():
            if not given.services or event["service"] in given.services:
                print(_text(event, as_json=given.json or given.format == "json"), flush=True)
    except KeyboardInterrupt:
        return 130
    return 0


def _text(event: dict[str, Any], *, as_json: bool) -> str:
    if as_json:
        import json

        return json.dumps(event, ensure_ascii=False)
    from orchestrator.cli.printing import printable

    why = f": {event['why']}" if event.get("why") else ""
    return printable(f"{event['time']} {event['type']} {event['action']} {event['subject']}{why}")


def _know(given: Given, client: Any, stack: str) -> None:
    """A service nobody knows would be silence for ever: the agent's `ps` knows them, and complains."""
    if given.services:
        client.get("/v1/containers", stack=stack, services=",".join(given.services), all=1)
