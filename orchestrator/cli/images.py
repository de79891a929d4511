"""pyorch images: what the stack's containers were made from. docker compose's table and JSON."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """List the images that containers of the stack were made from."""
EXAMPLES = """
  pyorch images
  pyorch images --format json
"""
OPTIONS = (
    Option("--format", kind="text", choices=("table", "json"), default="table", help="A table, or one JSON array."),
    Option("-q", "--quiet", help="Only ids."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.image_work import age, amount, short
    from orchestrator.cli.printing import table
    from orchestrator.cli.where import agent, stack_name

    client = agent(given)
    stack = stack_name(given, client)
    rows = client.get("/v1/images/used", stack=stack)
    if given.services:
        rows = [row for row in rows if any(f"-{name}-" in row["ContainerName"] for name in given.services)]
    if given.quiet:
        print("".join(f"{code}\n" for code in dict.fromkeys(row["ID"] for row in rows if row["ID"])), end="")
    elif given.format == "json":
        import json

        known = [
            {
                "ID": f"sha256:{row['ID']}" if row["ID"] else "",
                "ContainerName": row["ContainerName"],
                "Repository": row["Repository"],
                "Tag": row["Tag"],
                "Platform": row["Platform"],
                "Size": row["size"],
                "Created": row["created"],
            }
            for row in rows
        ]
        print(json.dumps(known, ensure_ascii=False))
    else:
        head = ("CONTAINER", "REPOSITORY", "TAG", "PLATFORM", "IMAGE ID", "SIZE", "CREATED")
        lines = [
            (
                *(row[key] for key in ("ContainerName", "Repository", "Tag", "Platform")),
                short(row["ID"], False),
                amount(row["size"]) if row["ID"] else "",
                age(row["created"]) if row["ID"] else "",
            )
            for row in rows
        ]
        print(table(head, lines), end="")
    return 0
