"""pyorch suspend: services are left alone for a while."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Leave services alone for a while: nothing is started, stopped, replaced or put right. It ends by itself.

Without a name, the whole stack. `pyorch resume` ends it early.
"""
EXAMPLES = """
  pyorch suspend db --for 2h --reason "disk is being replaced"
  pyorch suspend --for 30m
"""
OPTIONS = (
    Option("--for", kind="text", metavar="DURATION", default="1h", help="How long: 90s, 30m, 2h. Default 1h."),
    Option("--reason", kind="text", metavar="TEXT", help="Shown by status, ps and why."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, deed_path, stack_name
    from orchestrator.errors import Mistake
    from orchestrator.units import duration

    written = getattr(given, "for")
    try:
        seconds = duration(written)
    except ValueError as error:
        raise Mistake(f"cannot suspend for '{written}': {error}") from None
    client = agent(given)
    body = {"services": given.services, "seconds": seconds, "reason": given.reason}
    done = client.post(deed_path(stack_name(given, client), "suspend"), body)
    whom = ", ".join(done["services"]) or "the whole stack"
    print(f"{done['stack']}: {whom} suspended until {done['until']}")
    return 0
