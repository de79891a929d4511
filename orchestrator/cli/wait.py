"""pyorch wait: until the services' containers have ended; the exit code is that of the first."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Wait until the containers of services have ended. Prints their exit codes; the first one is ours."""
EXAMPLES = """
  pyorch wait migrate
  pyorch wait --down-project tests   then take the stack down
"""
OPTIONS = (Option("--down-project", help="Take the stack down as soon as the first has ended."),)
ARGUMENTS = (Argument("services", many=True, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.api.response import Lines
    from orchestrator.cli.deed import do
    from orchestrator.cli.where import agent, deed_path, stack_name

    client = agent(given)
    path = deed_path(stack_name(given, client), "wait")
    answer = client.open("GET", path, query={"services": ",".join(given.services)})
    lines, first = Lines(), None
    while (data := answer.receive()) is not None:
        for message in lines.feed(data):
            print(f'container "{message["subject"]}" exited with status code {message["code"]}', flush=True)
            first = int(message["code"]) if first is None else first
        if first is not None and given.down_project:
            break
    answer.close()
    if given.down_project and (code := do(given, "down", {"volumes": False, "grace": None, "services": []})):
        return code
    return first or 0
