"""What is wrong with text that is not YAML, and on which line.

The parser stops where it can no longer go on. The mistake is often further up: a quote that was opened and closed lines
later, a key without its colon.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import yaml

from orchestrator.stack.repair import repaired

_KEY = re.compile(r"\s*(- +)*[\"']?[\w.$/-]+[\"']?:(\s|$)")
_MORE = re.compile(r"\s*(#|- |[\"']?[\w.$/-]+[\"']?:(\s|$))")  # a comment, an element, a key
_WORDS = re.compile(r"(\s*(?:- +)*)([A-Za-z_][\w./-]*)\s+(\S.*)$")
_SCANNED = 1 << 19  # letters: in a longer text no quote is looked for that was opened and closed further up
_AROUND = 2_000  # lines above the trouble that show the file's habit
_RARE = 2  # lines: an indentation that more of them have is a habit too ("     - " under "    ports:")


def diagnose(text: str, lines: Sequence[str], error: yaml.MarkedYAMLError) -> tuple[int, int, str]:
    """(line, column, sentence) of the place that is to be mended, counted from 0; line -1: the file as a whole."""
    problem, mark = str(error.problem), error.problem_mark or error.context_mark
    if mark is None:
        return -1, 0, f"is not YAML: {problem}"
    if "found undefined alias" in problem:
        return mark.line, mark.column, f"is not YAML: {problem}; no anchor of that name stands above"
    if len(text) <= _SCANNED and (quote := _open_quote(text, lines, mark.line)):
        return quote
    if "quoted scalar" in str(error.context) and error.context_mark:
        return _never_closed(error.context_mark)
    line = lines[mark.line] if mark.line < len(lines) else ""
    if line.lstrip(" ").startswith("\t"):
        return mark.line, mark.column, f"is not YAML: {problem}; indent with spaces, not tabs"
    if key := _key_without_colon(lines, error, mark.line):
        return key
    if indentation := _odd_indentation(lines, mark.line):
        return indentation
    if slip := repaired(lines, mark.line, flow="flow" in str(error.context)):
        return slip
    if "unexpected end" in problem and error.context_mark:  # show what was opened, not the end
        mark = error.context_mark
    return mark.line, mark.column, f"is not YAML: {problem}" + (f" ({error.context})" if error.context else "")


def _open_quote(text: str, lines: Sequence[str], last: int) -> tuple[int, int, str] | None:
    """The first quoted text before the trouble that goes over lines and has swallowed what looks like further keys."""
    scanner = yaml.CSafeLoader(text)
    try:
        while scanner.check_token():
            token: Any = scanner.get_token()
            start, end = token.start_mark, token.end_mark
            if start.line > last:
                return None
            quoted = isinstance(token, yaml.ScalarToken) and token.style in ("'", '"')
            if quoted and any(_MORE.match(line) for line in lines[start.line + 1 : end.line + 1]):
                remedy = f"a quote is opened here and closed on line {end.line + 1} only; close it on its own line"
                return start.line, start.column, remedy
    except yaml.MarkedYAMLError as error:
        if error.context_mark and "quoted scalar" in str(error.context):
            return _never_closed(error.context_mark)
    finally:
        scanner.dispose()
    return None


def _never_closed(mark: Any) -> tuple[int, int, str]:
    return mark.line, mark.column, "a quote is opened here and never closed"


def _key_without_colon(lines: Sequence[str], error: yaml.MarkedYAMLError, last: int) -> tuple[int, int, str] | None:
    problem = str(error.problem)
    if "could not find expected ':'" in problem and error.context_mark:
        at = error.context_mark.line
    elif "mapping values are not allowed" in problem or "did not find expected key" in problem:
        at = _line_above(lines, last)
    else:
        return None
    words = _WORDS.match(lines[at]) if 0 <= at < len(lines) else None
    if words is None or _KEY.match(lines[at]):
        return None
    missing = f"expected 'KEY: value'; is the ':' missing after '{words[2]}'? Write '{words[2]}: {words[3].strip()}'"
    return at, len(words[1]), missing


def _odd_indentation(lines: Sequence[str], last: int) -> tuple[int, int, str] | None:
    """The nearest line of the same block before the trouble whose indentation departs from the file's habit."""
    around = lines[max(last - _AROUND, 0) : last + _AROUND]
    step, seen = _habit(around), Counter(map(_indent, around))
    if last >= len(lines) or _indent(lines[last]) % step:
        return None
    above = _line_above(lines, last)
    while above >= 0:
        indent = _indent(lines[above])
        if indent % step and seen[indent] <= _RARE:
            odd = f"is indented by {indent} spaces, which fits none of the lines around it; indent by {step} a level"
            return above, indent, odd
        if indent < _indent(lines[last]):
            return None
        above = _line_above(lines, above)
    return None


def _habit(lines: Sequence[str]) -> int:
    """By how many spaces a level of keys is mostly indented."""
    said = [line for line in lines if line.strip() and line.lstrip()[0] not in "#-"]
    steps = Counter(_indent(below) - _indent(above) for above, below in pairwise(said))
    steps = Counter({step: count for step, count in steps.items() if step > 1})  # a step of one is mostly the slip
    return steps.most_common(1)[0][0] if steps else 2


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _line_above(lines: Sequence[str], line: int) -> int:
    """The nearest line above that says something; -1: there is none."""
    above = line - 1
    while above >= 0 and (not lines[above].strip() or lines[above].lstrip().startswith("#")):
        above -= 1
    return above
