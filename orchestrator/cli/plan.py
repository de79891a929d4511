"""pyorch plan: what `up` would do, each step with its why. It asks the very decider that `up` obeys."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option
from orchestrator.cli.table import COMPAT, STRICT

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

HELP = """Say what `up` would do: each field that changed, what obeying it takes and triggers; change nothing.

Classes of change: in place (nobody is stopped), reload, restart, recreate. Secrets are not shown.
Exit code: 0 nothing to do, 2 changes, 1 failed.
"""
EXAMPLES = """
  pyorch plan                     in sentences
  pyorch plan -o markdown         for a pull request
  pyorch plan -o json             for programs
  pyorch plan --out next.plan     keep it; 'pyorch up --plan next.plan' applies just that, or refuses
  pyorch plan --source shop@pull/7 -o markdown    what a branch of a followed repository would do
  pyorch plan || [ $? = 2 ]       in a script: fails only if planning failed
"""
OPTIONS = (
    Option(
        "-o", "--format", kind="text", choices=("text", "json", "markdown"), default="text", help="How it is printed."
    ),
    Option("--out", kind="text", metavar="FILE", help="Write the plan into a file that `up --plan` applies."),
    Option("--source", kind="text", metavar="NAME@REF", help="Of a source's (or repository's) branch, tag or commit."),
    Option("--path", kind="text", metavar="PATH", help="With --source: the stack file in the repository."),
    Option("--remove-orphans", help="As for up."),
    Option("--force-recreate", help="As for up."),
    Option("--no-recreate", help="As for up."),
    Option("--no-deps", help="As for up."),
    Option("--scale", kind="many", metavar="SERVICE=N", help="As for up."),
    STRICT,
    COMPAT,
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="[FILE] SERVICE", complete=True),)


def run(given: Given) -> int:
    import sys

    from orchestrator.cli.failure import report
    from orchestrator.cli.printing import say
    from orchestrator.cli.request import request
    from orchestrator.cli.where import ensured
    from orchestrator.errors import Mistake

    if given.source:
        return _of_source(given)
    try:
        body = request(given)
        # It must look at the world: what runs here may have outlived an agent.
        plan = ensured(given).post("/v1/plan", {**body, "document": bool(given.out)})
    except Mistake as error:  # 2 says "changes" here
        report(error)
        return 1
    for warning in plan.get("warnings", ()):
        say(f"warning: {warning}")
    if given.out:
        _keep(given.out, plan, body)
    sys.stdout.write(_text(given.format, plan))
    return 2 if plan["changes"] else 0


def _of_source(given: Given) -> int:
    """The plans of all stacks of a commit, one after the other."""
    import sys

    from orchestrator.cli.failure import report
    from orchestrator.cli.where import ensured
    from orchestrator.errors import Mistake

    try:
        answer = ensured(given).post("/v1/plan/source", {"source": given.source, "path": given.path})
    except Mistake as error:
        report(error)
        return 1
    if given.format == "json":
        import json

        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(_text(given.format, plan) for plan in answer["plans"]))
    return 2 if any(plan["changes"] for plan in answer["plans"]) else 0


def _keep(path: str, plan: dict[str, Any], body: dict[str, Any]) -> None:
    """The whole stack is in it, secrets too: only its owner may read it. The caller's environment stays out."""
    import json
    import os

    from orchestrator.errors import HostRefused

    asked = {key: value for key, value in body.items() if key != "environment"}
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)
            json.dump({**plan, "request": asked}, file)
    except OSError as error:
        raise HostRefused(f"cannot write '{path}': {error.strerror}") from error


def _text(form: str, plan: dict[str, Any]) -> str:
    plan.pop("document", None)
    if form == "json":
        import json

        return json.dumps(plan, indent=2, ensure_ascii=False) + "\n"
    if form == "markdown":
        from orchestrator.cli.markdown import markdown

        return markdown(plan)
    if not plan["changes"] and not plan["text"]:
        return f"{plan['stack']}: nothing to do\n"
    parts = [plan["summary"], plan["text"]]
    return "\n\n".join(part for part in parts if part) + "\n"
