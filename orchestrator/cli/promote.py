"""pyorch promote: the canaries are good, the rest may follow."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Let the rest of the replicas follow their canaries (`x-pyorch: {canary: N}`).

Without a word of it, a changed service stays at N replicas of the new version and the rest of the old one.
"""
EXAMPLES = """
  pyorch promote              every service of the stack that has canaries
  pyorch promote --wait api   only api; return when all of it is ready
"""
OPTIONS = (
    Option("--wait", help="Return when everything is healthy."),
    Option("--wait-timeout", kind="number", metavar="SECONDS", help="Give up waiting after so long."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.deed import do

    goal = "ready" if given.wait else "started"
    return do(given, "promote", {"services": given.services, "goal": goal, "timeout": given.wait_timeout})
