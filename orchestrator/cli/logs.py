"""pyorch logs: what containers wrote, oldest first."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Show what containers wrote, oldest first."""
EXAMPLES = """
  pyorch logs                     of every service, each line with its container's name
  pyorch logs -f --tail 20 api    the last 20 lines of each api container, and what comes
  pyorch logs --since 10m -t      of the last ten minutes, with times
  pyorch logs --no-log-prefix --index 2 api > api-2.log
"""
OPTIONS = (
    Option("-f", "--follow", help="Go on with what is written from now."),
    Option("-n", "--tail", kind="text", metavar="N", help="The last N lines of each container; all."),
    Option("--since", kind="text", metavar="TIME", help="From then on: 10m, 2026-01-31T12:00:00, seconds since 1970."),
    Option("--until", kind="text", metavar="TIME", help="Up to then."),
    Option("-t", "--timestamps", help="The time before each line."),
    Option("--no-log-prefix", help="Lines as they are, without the container's name."),
    Option("--index", kind="integer", metavar="N", help="Only this replica of the service."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.loglines import LogPrinter
    from orchestrator.cli.where import agent, deed_path, stack_name

    client = agent(given)
    name = stack_name(given, client)
    query = {
        "services": ",".join(given.services) or None,
        "tail": _tail(given.tail),
        "since": given.since,
        "until": given.until,
        "follow": int(given.follow),
        "index": given.index,
    }
    answer = client.open("GET", deed_path(name, "logs"), query=query)
    printer = LogPrinter(given, name, timestamps=given.timestamps)
    try:
        while (data := answer.receive()) is not None:
            printer.feed(data)
    except KeyboardInterrupt:
        return 130
    return 0


def _tail(text: str | None) -> str | None:
    if text in (None, "all", "-1"):
        return None
    if text is not None and text.isdigit():
        return text
    from orchestrator.errors import Mistake

    raise Mistake(f"cannot show the last '{text}' lines: write a number, or all")
