"""pyorch scale: as many replicas as the user says, whatever the file says."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Set how many replicas services have; holds until `pyorch up` names them again."""
EXAMPLES = """
  pyorch scale web=3 worker=10
  pyorch scale --no-deps web=0
"""
OPTIONS = (Option("--no-deps", help="Not what they depend on."),)
ARGUMENTS = (Argument("pairs", many=True, metavar="[FILE] SERVICE=N"),)


def run(given: Given) -> int:
    from orchestrator.cli.progress import follow, progress, verdict
    from orchestrator.cli.request import scaled
    from orchestrator.cli.where import agent, take_file, wish

    take_file(given, given.pairs)
    scale = dict(scaled(pair) for pair in given.pairs)
    body = {**wish(given), "services": [*scale], "scale": scale, "no_deps": given.no_deps, "goal": "started"}
    return verdict(follow(agent(given).open("POST", "/v1/up", body=body), progress(given)))
