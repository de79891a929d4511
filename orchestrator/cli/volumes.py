"""pyorch volumes: the volumes of a stack, as `docker compose volumes` lists them."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """List the stack's volumes, or those of some of its services."""
EXAMPLES = """
  pyorch volumes
  pyorch volumes db --format json
"""
OPTIONS = (
    Option("--format", kind="text", choices=("table", "json"), default="table", help="A table, or JSON lines."),
    Option("-q", "--quiet", help="Only names."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.volume import show
    from orchestrator.cli.where import agent, stack_name

    client = agent(given)
    stack = stack_name(given, client)
    rows = []
    for row in client.get("/v1/volumes"):
        services = {user["Service"] for user in row["Users"] if user["Stack"] == stack}
        ours = (row["Labels"] or {}).get("com.docker.compose.project") == stack or services
        if ours and (not given.services or services & {*given.services}):
            rows.append(row)
    show(given, rows)
    return 0
