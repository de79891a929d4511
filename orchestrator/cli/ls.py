"""pyorch ls: the stacks this agent looks after."""

from __future__ import annotations

from orchestrator.cli.option import Given, Option

HELP = """List the stacks on this machine."""
EXAMPLES = """
  pyorch ls
  pyorch ls --format json
"""
OPTIONS = (
    Option("-a", "--all", help="Stopped stacks too."),
    Option("--format", kind="text", choices=("table", "json"), default="table", help="A table, or one JSON array."),
    Option("-q", "--quiet", help="Only names."),
)
ARGUMENTS = ()


def run(given: Given) -> int:
    from orchestrator.cli.printing import table
    from orchestrator.cli.where import agent

    stacks = agent(given).get("/v1/stacks", all=int(given.all))
    if given.quiet:
        print("".join(f"{stack['Name']}\n" for stack in stacks), end="")
    elif given.format == "json":
        import json

        print(json.dumps(stacks, ensure_ascii=False))
    else:
        rows = [(stack["Name"], stack["Status"], stack["ConfigFiles"]) for stack in stacks]
        print(table(("NAME", "STATUS", "CONFIG FILES"), rows), end="")
    return 0
