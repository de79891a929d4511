"""pyorch rm: containers that do not run any more go."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Remove containers that do not run, and their anonymous volumes.

What runs is left alone, unless --stop is given. A service without any container comes back with the next `pyorch up`.
"""
EXAMPLES = """
  pyorch rm              asks, then removes what has ended
  pyorch rm -fs web      stops web and removes it, without asking
"""
OPTIONS = (
    Option("-f", "--force", help="Do not ask."),
    Option("-s", "--stop", help="Stop them first."),
    Option("-v", "--volumes", help="Anonymous volumes too (they always go with their container)."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.deed import do
    from orchestrator.cli.printing import say
    from orchestrator.cli.where import agent, stack_name

    if given.stop and (code := do(given, "stop", {"services": given.services, "grace": None, "no_deps": False})):
        return code
    client = agent(given)
    stack = stack_name(given, client)
    services = ",".join(given.services) or None
    found = client.get("/v1/containers", stack=stack, all=1, services=services)
    names = [row["Name"] for row in found if row["ID"] and row["State"] not in ("running", "paused")]
    if not names:
        say("no stopped containers")
        return 0
    if not given.force and not _sure(names):
        return 0
    return do(given, "rm", {"services": given.services})


def _sure(names: list[str]) -> bool:
    print(f"Going to remove {', '.join(names)}")
    try:
        return input("Are you sure? [yN] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
