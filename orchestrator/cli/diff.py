"""pyorch diff: what one revision of the stack has otherwise than another."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Show what the second revision has otherwise than the first: each field, old → new, with its place.

Secrets are not shown.
"""
EXAMPLES = """
  pyorch diff 3 4                 in sentences
  pyorch diff 3 4 --format json   for programs
"""
OPTIONS = (Option("--format", kind="text", choices=("text", "json"), default="text", help="How it is printed."),)
ARGUMENTS = (Argument("old", metavar="REVISION"), Argument("new", metavar="REVISION"))


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, deed_path, stack_name

    old, new = number(given.old), number(given.new)
    client = agent(given)
    found = client.get(deed_path(stack_name(given, client), "diff"), old=old, new=new)
    if given.format == "json":
        import json

        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif found["text"]:
        print(found["text"])
    else:
        print(f"{found['stack']}: revisions {old} and {new} mean the same")
    return 0


def number(word: str) -> int:
    """A revision as written; Mistake where it is none."""
    if not word.isdigit() or int(word) < 1:
        from orchestrator.errors import Mistake

        raise Mistake(f"cannot read revision '{word}': write its number; 'pyorch history' lists them")
    return int(word)
