"""pyorch uncordon NODE."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Let a cordoned or drained node take new replicas again.

Nothing moves back by itself.
"""
EXAMPLES = """
  pyorch uncordon n1
"""
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument("node", metavar="NODE"),)


def run(given: Given) -> int:
    from orchestrator.api.client import quoted
    from orchestrator.cli.where import agent

    answer = agent(given).post(f"/v1/nodes/{quoted(given.node)}/uncordon", {})
    print(f"{answer['node']} {answer['state']}")
    return 0
