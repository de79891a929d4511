"""The lines of a Dockerfile: continued ones as one, here-documents, and where each letter stood. Pure.

https://docs.docker.com/reference/dockerfile/ ("Format", "Here-Documents").
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.images.build.words import BLANKS

# Where a word begins: `<<EOF`, `3<<-EOF`, `<<"EOF"`, `<<\EOF`.
_MARK = re.compile(r"""\d*<<(-?)(\\?)(['"]?)([^\s<>;&|()'"\\$`]+)\3""")


class Wrong(ValueError):
    """A mistake in a Dockerfile, at a line and column counted from 1."""

    def __init__(self, line: int, column: int, why: str) -> None:
        super().__init__(why)
        self.line, self.column, self.why = line, column, why


@dataclass(frozen=True, slots=True)
class Source:
    """An instruction's lines as one. `places`: (offset in `text`, line, column) of each piece that was joined."""

    text: str
    places: tuple[tuple[int, int, int], ...]

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of a letter, from 1."""
        begin, line, column = self.places[bisect.bisect_right(self.places, (offset, 1 << 31, 0)) - 1]
        return line, column + offset - begin


@dataclass(frozen=True, slots=True)
class Heredoc:
    """`expand`: $VARIABLES in it are filled in (its mark was not quoted)."""

    name: str
    content: str
    expand: bool


def joined(lines: Sequence[str], start: int, escape: str) -> tuple[Source, int]:
    """The instruction that begins at line `start` (from 0), and the number of the line after it.

    Comments and empty lines between continued ones are left out, as Docker does. Two escape characters at the end of a
    line are one of them, and no continuation.
    """
    text, places, number = "", [], start
    while number < len(lines):
        line = lines[number]
        number += 1
        if number - 1 > start and (line.lstrip().startswith("#") or not line.strip()):
            continue
        places.append((len(text), number, 1))
        stripped = line.rstrip(" \t")
        if not stripped.endswith(escape) or stripped.endswith(escape * 2):
            text += line
            break
        text += stripped[:-1]
    return Source(text, tuple(places)), number


def heredocs(lines: Sequence[str], number: int, source: Source, begin: int) -> tuple[list[Heredoc], int]:
    """What is marked in the text from `begin` on, and stands in the lines from `number` on; the line after it.

    Raises Wrong.
    """
    found = []
    for mark in _marks(source.text, begin):
        content, number = _content(lines, number, mark, source)
        found.append(Heredoc(mark[4], content, not mark[2] and not mark[3]))
    return found, number


def _marks(text: str, begin: int) -> Iterator[re.Match[str]]:
    """Where a word begins outside quotes: not `<<<`, and not the shift of `$((1<<x))`."""
    quote, at = "", begin
    while at < len(text):
        letter = text[at]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "<0123456789" and text[at - 1] in BLANKS:
            found = _MARK.match(text, at)
            if found:
                yield found
                at = found.end()
                continue
        at += 1


def _content(lines: Sequence[str], number: int, mark: re.Match[str], source: Source) -> tuple[str, int]:
    content: list[str] = []
    for at in range(number, len(lines)):
        one = lines[at].lstrip("\t") if mark[1] else lines[at]
        if one == mark[4]:
            return "".join(f"{part}\n" for part in content), at + 1
        content.append(one)
    why = f"the here-document {mark[4]!r} has no end: a line {mark[4]!r} is missing"
    raise Wrong(*source.at(mark.start()), why)
