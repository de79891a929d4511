"""Which small change would make YAML of a text that is none: it tells the line of the slip.

The parser stops where it can no longer go on, often a line or more below. Here the usual slips are mended on the lines
around, nearest first; the first change after which the parser gets through is what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import yaml

_FARTHEST = 30  # lines above the trouble that are looked at
_BEHIND = 60  # lines below the trouble that must be readable then
_MOST = 2 << 20  # letters parsed in search of a change
_CLOSING = {"[": "]", "{": "}"}

Change = tuple[str, int, str]  # the line instead, the column of the slip, what to say


def repaired(lines: Sequence[str], trouble: int, *, flow: bool) -> tuple[int, int, str] | None:
    """(line, column, sentence) of the slip, counted from 0; None where no single change helps. `trouble`: the line on
    which the parser stopped; `flow`: in a list or map in brackets."""
    window = [*lines[: trouble + _BEHIND]]
    tries = _MOST // (sum(map(len, window)) + 1)
    if not tries:
        return None
    for kind in (_on_its_own, _without_comma, _in_company) if flow else (_on_its_own, _in_company):
        for at in range(min(trouble, len(window) - 1), max(trouble - _FARTHEST, -1), -1):
            for line, column, sentence in kind(window, at) if _says_something(window[at]) else ():
                tries -= 1
                if tries < 0:
                    return None
                if _is_read([*window[:at], line, *window[at + 1 :]], whole=len(window) == len(lines)):
                    return at, column, sentence
    return None


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _is_read(lines: Sequence[str], *, whole: bool) -> bool:
    """Whether the parser gets through; what is open at the end of a part does not count."""
    parser = yaml.CSafeLoader("\n".join(lines))
    try:
        parser.raw_parse()
    except yaml.MarkedYAMLError as error:
        return not whole and error.problem_mark is not None and error.problem_mark.line >= len(lines) - 1
    finally:
        parser.dispose()
    return True


def _on_its_own(lines: Sequence[str], at: int) -> Iterator[Change]:
    """Slips that the line itself shows."""
    line = lines[at]
    if found := re.match(r"(\s*(?:- +)*)([A-Za-z_][\w./$-]*):(?!\s|//)(\S.*)$", line):
        head, key, rest = found.groups()
        yield f"{head}{key}: {rest}", len(head), f"a blank is missing after the colon: write '{key}: {rest.strip()}'"
    if found := re.match(r"(\s*)-(?=[^\s-])(.*)$", line):
        yield (
            f"{found[1]}- {found[2]}",
            len(found[1]),
            f"a blank is missing after the dash: write '- {found[2].strip()}'",
        )
    yield from _unclosed(line)
    if found := re.match(r"(\s*(?:- +)*)([A-Za-z_][\w./-]*)\s+(\S.*)$", line):
        meant = f"{found[2]}: {found[3].strip()}"
        yield (
            f"{found[1]}{meant}",
            len(found[1]),
            f"expected 'KEY: value'; is the ':' missing after '{found[2]}'? Write '{meant}'",
        )
    if found := re.match(r"(\s*(?:- +)*)([A-Za-z_][\w./-]*)\s*$", line):
        yield f"{found[1]}{found[2]}:", len(found[1]), f"expected 'KEY:'; is the ':' missing after '{found[2]}'?"


def _unclosed(line: str) -> Iterator[Change]:
    """Brackets and quotes that are opened on the line and not closed on it, or closed without having been opened."""
    body = re.sub(r"\s+#.*$", "", line)
    opened: list[tuple[str, int]] = []
    quote: tuple[str, int] | None = None
    for column, letter in enumerate(body):
        if quote:
            quote = None if letter == quote[0] else quote
        elif letter in "'\"" and not body[column - 1 : column].isalnum():
            quote = letter, column
        elif letter in "[{":
            opened.append((letter, column))
        elif letter in "]}" and opened:
            opened.pop()
    if quote:
        yield body + quote[0], quote[1], "a quote is opened here and not closed on this line"
    if opened:
        sign, column = opened[0]
        ends = "".join(_CLOSING[one] for one, _ in reversed(opened))
        yield body + ends, column, f"'{sign}' is opened here and not closed: write '{_CLOSING[sign]}' where it ends"
        quoted = f"{body[:column]}'{body[column:]}'"
        yield quoted, column, f"a text that begins with '{sign}' must stand in quotes"


def _without_comma(lines: Sequence[str], at: int) -> Iterator[Change]:
    body = re.sub(r"\s+#.*$", "", lines[at])
    yield body + ",", len(body) - 1, "a comma is missing at the end of this line"


def _in_company(lines: Sequence[str], at: int) -> Iterator[Change]:
    """Slips that show beside the lines around: another indentation, a dash that the neighbours have."""
    line, text = lines[at], lines[at].lstrip(" ")
    here = len(line) - len(text)
    around = [other for other in (_next(lines, at, -1), _next(lines, at, 1)) if other is not None]
    dashed = [len(other) - len(other.lstrip(" ")) for other in around if other.lstrip(" ").startswith("- ")]
    if dashed and not text.startswith("- "):
        yield " " * dashed[0] + "- " + text, here, f"is the dash of a list's element missing? Write '- {text.rstrip()}'"
    indents = [len(other) - len(other.lstrip(" ")) for other in around]
    if around and around[0].rstrip().endswith(":"):
        indents.append(indents[0] + 2)
    for indent in dict.fromkeys(indents):
        if indent != here:
            yield (
                " " * indent + text,
                here,
                f"is indented by {here} spaces, where {indent} would fit the lines around it",
            )


def _next(lines: Sequence[str], at: int, step: int) -> str | None:
    at += step
    while 0 <= at < len(lines):
        if _says_something(lines[at]):
            return lines[at]
        at += step
    return None
