"""pyorch cordon NODE."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Let a node take nothing new.

What runs there goes on.
"""
EXAMPLES = """
  pyorch cordon n1
"""
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument("node", metavar="NODE"),)


def run(given: Given) -> int:
    from orchestrator.api.client import quoted
    from orchestrator.cli.where import agent

    answer = agent(given).post(f"/v1/nodes/{quoted(given.node)}/cordon", {})
    print(f"{answer['node']} {answer['state']}")
    return 0
