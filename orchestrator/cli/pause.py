"""pyorch pause: every process of the services stands still, until `pyorch unpause`."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Let services stand still: their processes keep memory, files and connections and get no processor."""
EXAMPLES = """
  pyorch pause            everything
  pyorch pause db         only db; its health check rests meanwhile
"""
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.deed import do

    return do(given, "pause", {"services": given.services})
