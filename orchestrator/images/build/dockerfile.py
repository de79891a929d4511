"""A Dockerfile's text → its instructions. Pure; every mistake has line and column.

https://docs.docker.com/reference/dockerfile/ ("Format", "Parser directives", "Here-Documents", "Shell and exec form").
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

FLAGGED = {
    "FROM": {"platform"},
    "RUN": {"mount", "network", "security"},
    "COPY": {"from", "chown", "chmod", "link", "exclude"},
    "ADD": {"chown", "chmod", "link", "exclude", "checksum"},
    "HEALTHCHECK": {"interval", "timeout", "start-period", "start-interval", "retries"},
}
KEYWORDS = frozenset(
    (
        *("FROM", "RUN", "COPY", "ADD", "ENV", "ARG", "WORKDIR", "USER", "ENTRYPOINT", "CMD", "EXPOSE", "VOLUME"),
        *("LABEL", "STOPSIGNAL", "HEALTHCHECK", "SHELL", "ONBUILD", "MAINTAINER"),
    )
)
_HEREDOC = {"RUN", "COPY", "ADD"}
_MARK = re.compile(r"<<(-?)(['\"]?)([A-Za-z_][A-Za-z0-9_.]*)\2")
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(.*))?", re.DOTALL)


class Wrong(ValueError):
    """A mistake in a Dockerfile, at a line and column counted from 1."""

    def __init__(self, line: int, column: int, why: str) -> None:
        super().__init__(why)
        self.line, self.column, self.why = line, column, why


@dataclass(frozen=True, slots=True)
class Heredoc:
    """`expand`: $VARIABLES in it are filled in (its mark was not quoted)."""

    name: str
    content: str
    expand: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """`flags`: name → its values, as they were given; `rest`: what follows them, lines joined; `exec`: `rest` as the
    words of its JSON form. `text`: the whole of it as people wrote it, for history and progress."""

    keyword: str
    flags: tuple[tuple[str, str], ...]
    rest: str
    exec: tuple[str, ...] | None
    heredocs: tuple[Heredoc, ...]
    line: int
    column: int
    text: str

    def flag(self, name: str) -> str | None:
        """The last value given; "" for a flag without one."""
        return next((value for key, value in reversed(self.flags) if key == name), None)

    def wrong(self, why: str) -> Wrong:
        return Wrong(self.line, self.column, why)


@dataclass(frozen=True, slots=True)
class Dockerfile:
    instructions: tuple[Instruction, ...]
    escape: str
    lines: tuple[str, ...]


def parse(text: str) -> Dockerfile:
    """Raises Wrong."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    escape, first = _directives(lines)
    made: list[Instruction] = []
    number = first
    while number < len(lines):
        if not lines[number].strip() or lines[number].lstrip().startswith("#"):
            number += 1
            continue
        instruction, number = _instruction(lines, number, escape)
        made.append(instruction)
    if not any(one.keyword == "FROM" for one in made):
        raise Wrong(max(len(lines), 1), 1, "it has no FROM")
    before = [one for one in made[: next(i for i, one in enumerate(made) if one.keyword == "FROM")]]
    for one in before:
        if one.keyword != "ARG":
            raise one.wrong(f"only ARG may stand before the first FROM, and not {one.keyword}")
    return Dockerfile(tuple(made), escape, tuple(lines))


def _directives(lines: list[str]) -> tuple[str, int]:
    """(the escape character, the first line that is no directive). They end with the first line of another kind."""
    escape, seen = "\\", set()
    for number, line in enumerate(lines):
        found = _DIRECTIVE.fullmatch(line.strip())
        if found is None:
            return escape, number
        name, value = found[1].lower(), found[2]
        if name not in ("syntax", "escape", "check"):
            return escape, number
        if name in seen:
            raise Wrong(number + 1, 1, f"the directive {name!r} is there twice")
        seen.add(name)
        if name == "escape":
            if value not in ("\\", "`"):
                raise Wrong(number + 1, line.index(value) + 1, f"the escape character must be \\ or `, not {value!r}")
            escape = value
    return escape, len(lines)


def _instruction(lines: list[str], start: int, escape: str) -> tuple[Instruction, int]:
    """One instruction with its continued lines and here-documents, and the number of the line after it."""
    joined, number = _joined(lines, start, escape)
    column = len(lines[start]) - len(lines[start].lstrip()) + 1
    words = joined.strip().split(None, 1)
    keyword, rest = words[0].upper(), words[1] if len(words) > 1 else ""
    if keyword not in KEYWORDS:
        import difflib

        near = difflib.get_close_matches(keyword, KEYWORDS, n=1)
        raise Wrong(
            start + 1, column, f"unknown instruction {words[0]!r}" + (f"; did you mean {near[0]}?" if near else "")
        )
    flags, rest = _flags(keyword, rest, start + 1, column)
    heredocs: list[Heredoc] = []
    if keyword in _HEREDOC or (
        keyword == "ONBUILD" and rest.split(None, 1)[:1] and rest.split(None, 1)[0].upper() in _HEREDOC
    ):
        for mark in list(_marks(rest)):
            content, number = _heredoc(lines, number, mark, start + 1, column)
            heredocs.append(Heredoc(mark[3], content, not mark[2]))
    text = "\n".join(lines[start:number]).strip()
    if not rest.strip() and keyword not in ("ENTRYPOINT", "CMD"):
        raise Wrong(start + 1, column, f"{keyword} says nothing")
    return Instruction(keyword, tuple(flags), rest, _exec(rest), tuple(heredocs), start + 1, column, text), number


def _joined(lines: list[str], start: int, escape: str) -> tuple[str, int]:
    """Continued lines as one; comments and empty lines between them are left out, as Docker does."""
    parts, number = [], start
    while number < len(lines):
        line = lines[number]
        number += 1
        if number - 1 > start and (line.lstrip().startswith("#") or not line.strip()):
            continue
        stripped = line.rstrip(" \t")
        if stripped.endswith(escape):
            parts.append(stripped[:-1])
            continue
        parts.append(line)
        break
    return "".join(parts), number


def _flags(keyword: str, rest: str, line: int, column: int) -> tuple[list[tuple[str, str]], str]:
    known = FLAGGED.get(keyword, set())
    found: list[tuple[str, str]] = []
    while rest.startswith("--"):
        word, after = _first_word(rest)
        if word == "--":
            return found, after
        matched = _FLAG.fullmatch(word)
        if matched is None or matched[1] not in known:
            if not known:
                return found, rest
            name = matched[1] if matched else word
            raise Wrong(line, column, f"{keyword} has no flag --{name.lstrip('-')}; it has {_list(known)}")
        found.append((matched[1], matched[2] if matched[2] is not None else ""))
        rest = after
    return found, rest


def _first_word(text: str) -> tuple[str, str]:
    """Up to a blank outside quotes."""
    quote = ""
    for at, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in " \t":
            return text[:at], text[at:].lstrip()
    return text, ""


def _marks(rest: str) -> Iterator[re.Match[str]]:
    """`<<EOF` where a word begins: not `<<<`, and not inside quotes."""
    quote, at = "", 0
    while at < len(rest):
        letter = rest[at]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif (
            rest.startswith("<<", at)
            and (at == 0 or rest[at - 1] in " \t0123456789;&|(")
            and not rest.startswith("<<<", at)
        ):
            found = _MARK.match(rest, at)
            if found:
                yield found
                at = found.end()
                continue
        at += 1


def _heredoc(lines: list[str], number: int, mark: re.Match[str], line: int, column: int) -> tuple[str, int]:
    content: list[str] = []
    strip = bool(mark[1])
    for at in range(number, len(lines)):
        one = lines[at].lstrip("\t") if strip else lines[at]
        if one == mark[3]:
            return "".join(f"{part}\n" for part in content), at + 1
        content.append(one)
    raise Wrong(line, column, f"the here-document {mark[3]!r} has no end: a line {mark[3]!r} is missing")


def _exec(rest: str) -> tuple[str, ...] | None:
    """The JSON form; what only looks like it is the shell form, as in Docker."""
    if not rest.lstrip().startswith("["):
        return None
    try:
        value = json.loads(rest)
    except ValueError:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return tuple(value)


def _list(names: set[str]) -> str:
    return ", ".join(f"--{name}" for name in sorted(names))
