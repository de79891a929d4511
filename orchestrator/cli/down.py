"""pyorch down: the stack goes, in the reverse of its dependency order."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Stop and remove the stack's containers and networks.

Volumes stay unless -v is given. With services named, only their containers go.
"""
EXAMPLES = """
  pyorch down                   take the stack of this directory away
  pyorch down -v                … and what its volumes hold
  pyorch down -p shop -t 2      by name; SIGKILL after 2 seconds
"""
OPTIONS = (
    Option("-v", "--volumes", help="Also remove the stack's volumes and what they hold."),
    Option("-t", "--timeout", kind="number", metavar="SECONDS", help="From the stop signal to SIGKILL."),
    Option("--remove-orphans", help="Also services that the file no longer names (they always go with the stack)."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.deed import do
    from orchestrator.cli.where import take_file

    take_file(given, given.services)
    return do(given, "down", {"volumes": given.volumes, "grace": given.timeout, "services": given.services})
