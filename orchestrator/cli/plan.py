"""pyorch plan: what `up` would do, each step with its why. It asks the very decider that `up` obeys."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Say what `up` would do, each step with its reason; change nothing.

Exit code: 0 nothing to do, 2 changes, 1 failed.
"""
EXAMPLES = """
  pyorch plan                     in sentences
  pyorch plan --format json       for programs
  pyorch plan || [ $? = 2 ]       in a script: fails only if planning failed
"""
OPTIONS = (
    Option("-o", "--format", kind="text", choices=("text", "json"), default="text", help="How it is printed."),
    Option("--remove-orphans", help="As for up."),
    Option("--force-recreate", help="As for up."),
    Option("--no-recreate", help="As for up."),
    Option("--no-deps", help="As for up."),
    Option("--scale", kind="many", metavar="SERVICE=N", help="As for up."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="[FILE] SERVICE", complete=True),)


def run(given: Given) -> int:
    import sys

    from orchestrator.api.start import ensure_agent
    from orchestrator.cli.failure import report
    from orchestrator.cli.request import request
    from orchestrator.cli.where import agent, root
    from orchestrator.errors import Mistake

    try:
        body = request(given)
        ensure_agent(root(given))  # it must look at the world: what runs here may have outlived an agent
        plan = agent(given).post("/v1/plan", body)
    except Mistake as error:  # 2 says "changes" here
        report(error)
        return 1
    if given.format == "json":
        import json

        print(json.dumps(plan, indent=2, ensure_ascii=False))
    else:
        sys.stdout.write(plan["text"] + "\n" if plan["text"] else f"{plan['stack']}: nothing to do\n")
    return 2 if plan["actions"] else 0
