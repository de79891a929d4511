"""pyorch drain NODE."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Empty a node.

Its replicas move to others, one of a service after the other; what has no other place stays and says why.
`pyorch uncordon` ends it.
"""
EXAMPLES = """
  pyorch drain n1
"""
OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = (Argument("node", metavar="NODE"),)


def run(given: Given) -> int:
    from orchestrator.api.client import quoted
    from orchestrator.cli.where import agent

    answer = agent(given).post(f"/v1/nodes/{quoted(given.node)}/drain", {})
    print(f"{answer['node']} {answer['state']}")
    return 0
