"""pyorch rollback: what an earlier revision wanted is wanted again."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Go back to an earlier revision of the whole stack; without a number, to the last one that was ready.

It becomes a new revision, and goes out under `deploy.rollback_config` of each service that changes.
"""
EXAMPLES = """
  pyorch rollback                 to the last good one
  pyorch rollback 3 --wait        to revision 3; return when everything is healthy again
"""
OPTIONS = (
    Option("--wait", help="Return when everything is healthy."),
    Option("--wait-timeout", kind="number", metavar="SECONDS", help="Give up waiting after so long."),
    Option("-t", "--timeout", kind="number", metavar="SECONDS", help="From the stop signal to SIGKILL."),
)
ARGUMENTS = (Argument("revision", required=False, metavar="REVISION"),)


def run(given: Given) -> int:
    from orchestrator.cli.deed import do
    from orchestrator.cli.diff import number

    body = {
        "revision": number(given.revision) if given.revision else None,
        "goal": "ready" if given.wait else "started",
        "timeout": given.wait_timeout,
        "grace": given.timeout,
    }
    return do(given, "rollback", body)
