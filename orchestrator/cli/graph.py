"""pyorch graph: which service waits for which. In this process: neither agent nor root rights are needed."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Show which service waits for which, and for what of it."""
EXAMPLES = """
  pyorch graph                              a tree in the terminal
  pyorch graph --critical                   the chain that decides how long a start takes is marked
  pyorch graph --format dot | dot -Tsvg     for Graphviz
  pyorch graph --format mermaid             for Markdown
"""
OPTIONS = (
    Option("--format", kind="text", choices=("text", "dot", "mermaid"), default="text", help="How it is drawn."),
    Option("--critical", help="Mark the longest chain."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="[FILE] SERVICE"),)


def run(given: Given) -> int:
    from orchestrator.cli.where import only, read_stack
    from orchestrator.stack import graph

    services = only(read_stack(given, given.services), given.services).services
    marked = frozenset(graph.critical_path(services)) if given.critical else frozenset()
    if given.format == "text":
        print(graph.text(services, marked=marked), end="")
    else:
        print(graph.drawing(services, given.format, marked), end="")
    return 0
