"""pyorch stop: containers end and stay, so that `start` runs them again."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Stop services and keep their containers: `pyorch start` runs the same ones again."""
EXAMPLES = """
  pyorch stop             everything, dependents first
  pyorch stop -t 1 web    only web; SIGKILL after a second
"""
OPTIONS = (Option("-t", "--timeout", kind="number", metavar="SECONDS", help="From the stop signal to SIGKILL."),)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.deed import do

    return do(given, "stop", {"services": given.services, "grace": given.timeout, "no_deps": False})
