"""pyorch restart: the same containers again, and their dependents that asked for it (`depends_on … restart: true`)."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Restart services: the same containers, run again.

A dependent with `restart: true` under its depends_on is restarted after them.
"""
EXAMPLES = """
  pyorch restart             everything, in dependency order
  pyorch restart --no-deps db    only db
"""
OPTIONS = (
    Option("-t", "--timeout", kind="number", metavar="SECONDS", help="From the stop signal to SIGKILL."),
    Option("--no-deps", help="Not the services that depend on them."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.deed import do

    return do(given, "restart", {"services": given.services, "grace": given.timeout, "no_deps": given.no_deps})
