"""pyorch start: services stopped by hand run again, dependencies first."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Start services that were stopped: the same containers run again, dependencies first."""
EXAMPLES = """
  pyorch start            everything that was stopped
  pyorch start db         only db, and what it depends on
"""
OPTIONS = (Option("--no-deps", help="Not what they depend on."),)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.deed import do

    return do(given, "start", {"services": given.services, "grace": None, "no_deps": given.no_deps})
