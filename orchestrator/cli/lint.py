"""pyorch lint: what the stack file allows and its writer probably did not mean. No agent, no root rights needed."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.cli.option import Argument, Given, Option
from orchestrator.cli.table import STRICT

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from orchestrator.stack.effective import Effective
    from orchestrator.stack.lint.finding import Finding
    from orchestrator.stack.places import Place

HELP = """Look for what is allowed in the stack file and probably not meant.

Exit code: 0 nothing found, 1 something found, 2 the file is wrong. A rule is silenced with --ignore RULE, or in the
file, for the whole stack or one service, with x-pyorch: {lint: {ignore: [RULE]}}.
"""
EXAMPLES = """
  pyorch lint                                 this directory's stack
  pyorch lint stack.yaml --ignore latest-tag  without one rule
  pyorch lint --format github                 as annotations of a pull request
  pyorch lint --rules                         the rules, and what each is about
"""
OPTIONS = (
    Option("--format", kind="text", choices=("text", "json", "github"), default="text", help="How it is printed."),
    Option("--ignore", kind="many", metavar="RULE", help="Leave this rule out; may be given again."),
    Option("--rules", help="Only list the rules."),
    STRICT,
)
ARGUMENTS = (Argument("files", many=True, required=False, metavar="[FILE]"),)


def run(given: Given) -> int:
    from orchestrator.errors import Mistake

    if given.rules:
        _list_rules()
        return 0
    _known(given.ignore)
    try:
        found = _read(given)
    except Mistake as error:
        if given.format != "github":
            raise
        print("".join(_mistake(text) for text in error.complaints), end="")
        return error.exit_code
    rows = _rows(found, given.ignore)
    print({"text": _text, "json": _json, "github": _github}[given.format](rows), end="")
    if rows and given.format == "text":
        from orchestrator.cli.printing import say

        say(f"{len(rows)} finding{'s' if len(rows) > 1 else ''}; silence a rule with --ignore RULE")
    return 1 if rows else 0


def _list_rules() -> None:
    from orchestrator.stack.lint.table import RULES

    width = max(map(len, RULES))
    for name, rule in RULES.items():
        print(f"{name:<{width}}   {(rule.__doc__ or '').strip().partition(chr(10))[0]}")


def _known(names: list[str]) -> None:
    from orchestrator.errors import Mistake
    from orchestrator.stack.lint.table import RULES
    from orchestrator.stack.places import did_you_mean

    unknown = [name for name in names if name not in RULES]
    if unknown:
        raise Mistake(*(f"no such rule: {name}{did_you_mean(name, RULES)}" for name in unknown))


def _read(given: Given) -> Effective:
    from orchestrator.cli.printing import say
    from orchestrator.cli.where import asked, take_file
    from orchestrator.errors import Mistake
    from orchestrator.stack.effective import effective
    from orchestrator.stack.loader import Options
    from orchestrator.stack.places import Complaints

    take_file(given, given.files)
    if given.files:
        raise Mistake(*(f"cannot lint '{word}': a stack file ends in .yaml or .yml" for word in given.files))
    complaints = Complaints(given.strict)
    found = effective(asked(given), Options(), complaints)
    complaints.raise_if_any()
    for warning in complaints.warnings:
        say(f"warning: {warning}")
    return found


def _rows(found: Effective, ignored: list[str]) -> list[tuple[str, Finding, Place]]:
    """(rule, finding, place), in the order of the files' lines."""
    import os

    from orchestrator.stack.lint.finding import Subject
    from orchestrator.stack.lint.table import findings
    from orchestrator.stack.places import place_of

    subject = Subject(found.tree, found.chosen.services, found.chosen.disabled, found.places, os.path.exists)
    rows = [(rule, one, place_of(found.places, one.path, key=one.key)) for rule, one in findings(subject, ignored)]
    return sorted(rows, key=lambda row: (row[2].source.path, row[2].line, row[2].column, row[0]))


def _text(rows: Iterable[tuple[str, Finding, Place]]) -> str:
    from orchestrator.stack.places import dotted, printed

    return "".join(
        printed(place, f"{dotted(one.path)}: {one.text}; {one.remedy} [{rule}]") + "\n" for rule, one, place in rows
    )


def _json(rows: Iterable[tuple[str, Finding, Place]]) -> str:
    import json

    from orchestrator.stack.places import dotted

    objects = [
        {
            "rule": rule,
            "file": place.source.path,
            "line": place.line,
            "column": place.column,
            "path": dotted(one.path),
            "text": one.text,
            "remedy": one.remedy,
        }
        for rule, one, place in rows
    ]
    return json.dumps(objects, indent=2, ensure_ascii=False) + "\n"


def _github(rows: Iterable[tuple[str, Finding, Place]]) -> str:
    from orchestrator.stack.places import dotted

    return "".join(
        _annotation(
            "warning",
            place.source.shown,
            place.line,
            place.column,
            rule,
            f"{dotted(one.path)}: {one.text}; {one.remedy}",
        )
        for rule, one, place in rows
    )


def _mistake(complaint: str) -> str:
    """A complaint ("file:line:column: text", the line and its caret below) as an annotation."""
    import re

    head = complaint.partition("\n")[0]
    place = re.match(r"(.+?):(\d+):(\d+): (.*)", head)
    if place:
        return _annotation("error", place[1], int(place[2]), int(place[3]), "mistake", place[4])
    return _annotation("error", "", 0, 0, "mistake", head)


def _annotation(level: str, file: str, line: int, column: int, rule: str, text: str) -> str:
    """https://docs.github.com/actions/reference/workflow-commands-for-github-actions"""

    def value(word: str) -> str:
        return word.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def of_property(word: str) -> str:
        return value(word).replace(":", "%3A").replace(",", "%2C")

    where = f"file={of_property(file)},line={line},col={column}," if file else ""
    return f"::{level} {where}title={of_property('pyorch ' + rule)}::{value(text)}\n"
