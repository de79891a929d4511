"""pyorch resume: a suspension ends early."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given

HELP = """End a suspension before its time: what is amiss is put right at once."""
EXAMPLES = """
  pyorch resume        all that is suspended
  pyorch resume db     only db
"""
OPTIONS = ()
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, deed_path, stack_name

    client = agent(given)
    done = client.post(deed_path(stack_name(given, client), "resume"), {"services": given.services})
    ended = ["the whole stack" if name == "*" else name for name in done["resumed"]]
    print(f"{done['stack']}: {', '.join(ended) or 'nothing'} resumed")
    return 0
