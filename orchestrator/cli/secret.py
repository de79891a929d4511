"""pyorch secret: contents kept by name, for `external: true` configs and secrets."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Keep contents by name, for configs and secrets that a stack file calls `external: true`.

What is kept cannot be read out again, only mounted.
"""


class Create:
    """`secret create`"""

    HELP = """Keep the content of a file, or of standard input, under a name."""
    EXAMPLES = """
  pyorch secret create db_password password.txt
  openssl rand -hex 16 | pyorch secret create db_password -
"""
    OPTIONS: tuple[Option, ...] = ()
    ARGUMENTS = (Argument("name"), Argument("source", required=False, metavar="FILE|-"))

    @staticmethod
    def run(given: Given) -> int:
        import base64
        import sys

        from orchestrator.cli.where import ensured
        from orchestrator.errors import Mistake

        try:
            if given.source in (None, "-"):
                content = sys.stdin.buffer.read()
            else:
                with open(given.source, "rb") as file:
                    content = file.read()
        except OSError as error:
            raise Mistake(f"cannot read '{given.source}': {(error.strerror or str(error)).lower()}") from error
        body = {"name": given.name, "content": base64.b64encode(content).decode()}
        print(ensured(given).post("/v1/secrets", body)["Name"])
        return 0


class Ls:
    """`secret ls`"""

    HELP = """List what is kept, never what it says."""
    EXAMPLES = """
  pyorch secret ls
  pyorch secret ls --format json
"""
    OPTIONS = (
        Option("--format", kind="text", choices=("table", "json"), default="table", help="A table, or JSON lines."),
        Option("-q", "--quiet", help="Only names."),
    )
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.printing import table
        from orchestrator.cli.where import agent

        kept = agent(given).get("/v1/secrets")
        if given.quiet:
            print("".join(f"{secret['Name']}\n" for secret in kept), end="")
        elif given.format == "json":
            import json

            print("".join(f"{json.dumps(secret)}\n" for secret in kept), end="")
        else:
            rows = [(secret["Name"], secret["CreatedAt"], ", ".join(secret["Stacks"])) for secret in kept]
            print(table(("NAME", "CREATED", "USED BY"), rows), end="")
        return 0


class Rm:
    """`secret rm`"""

    HELP = """Remove what is kept under these names; not while a stack uses it."""
    EXAMPLES = """
  pyorch secret rm db_password
"""
    OPTIONS: tuple[Option, ...] = ()
    ARGUMENTS = (Argument("names", many=True, metavar="NAME"),)

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.where import agent, each

        return each(given.names, lambda name: agent(given).open("DELETE", f"/v1/secrets/{name}").all())


COMMANDS = {"create": Create, "ls": Ls, "rm": Rm}
