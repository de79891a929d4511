"""pyorch top: the processes of the services, as the host sees them."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Show the processes that run in the services' containers."""
EXAMPLES = """
  pyorch top
  pyorch top web db
"""
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)
COLUMNS = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")


def run(given: Given) -> int:
    from orchestrator.cli.printing import table
    from orchestrator.cli.where import agent, deed_path, stack_name

    client = agent(given)
    services = ",".join(given.services) or None
    containers = client.get(deed_path(stack_name(given, client), "top"), services=services)
    rows = [
        (container["Service"], str(container["Slot"]), *(process[column] for column in COLUMNS))
        for container in containers
        for process in container["Processes"]
    ]
    print(table(("SERVICE", "#", *COLUMNS), rows), end="")
    return 0
