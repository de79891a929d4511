"""pyorch unpause: what `pyorch pause` let stand still goes on."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Let services that were paused go on."""
EXAMPLES = """
  pyorch unpause db
"""
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.deed import do

    return do(given, "unpause", {"services": given.services})
