"""A Dockerfile's text → its instructions. Pure; every mistake has line and column.

https://docs.docker.com/reference/dockerfile/ ("Format", "Parser directives", "Shell and exec form").
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from orchestrator.images.build.lines import Heredoc, Source, Wrong, heredocs, joined

FLAGGED = {
    "FROM": {"platform"},
    "RUN": {"mount", "network", "security"},
    "COPY": {"from", "chown", "chmod", "link", "exclude", "parents"},
    "ADD": {"chown", "chmod", "link", "exclude", "checksum", "keep-git-dir", "unpack"},
    "HEALTHCHECK": {"interval", "timeout", "start-period", "start-interval", "retries"},
}
_SWITCHES = {"link", "parents", "keep-git-dir", "unpack"}  # flags that may stand without a value
KEYWORDS = frozenset(
    (
        *("FROM", "RUN", "COPY", "ADD", "ENV", "ARG", "WORKDIR", "USER", "ENTRYPOINT", "CMD", "EXPOSE", "VOLUME"),
        *("LABEL", "STOPSIGNAL", "HEALTHCHECK", "SHELL", "ONBUILD", "MAINTAINER"),
    )
)
_HEREDOC = {"RUN", "COPY", "ADD"}
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_FLAG = re.compile(r"--([a-z][a-z-]*)(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Instruction:
    """`flags`: name → its values, as they were given; `rest`: what follows them, lines joined; `exec`: `rest` as the
    words of its JSON form. `text`: the whole of it as people wrote it, for history and progress."""

    keyword: str
    flags: tuple[tuple[str, str], ...]
    rest: str
    exec: tuple[str, ...] | None
    heredocs: tuple[Heredoc, ...]
    text: str
    source: Source

    @property
    def line(self) -> int:
        return self.source.at(0)[0]

    def flag(self, name: str) -> str | None:
        """The last value given; "" for a flag without one."""
        return next((value for key, value in reversed(self.flags) if key == name), None)

    def wrong(self, why: str, word: str = "") -> Wrong:
        """A mistake in it: at the `word` that is at fault, where it can be found, else at its beginning."""
        return Wrong(*_place(self.source, word), why)


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
    first_stage = next((at for at, one in enumerate(made) if one.keyword == "FROM"), None)
    if first_stage is None:
        raise Wrong(max(len(lines), 1), 1, "it has no FROM")
    for one in made[:first_stage]:
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


def _instruction(lines: Sequence[str], start: int, escape: str) -> tuple[Instruction, int]:
    """One instruction with its continued lines and here-documents, and the number of the line after it."""
    source, number = joined(lines, start, escape)
    words = source.text.strip().split(None, 1)
    keyword, rest = words[0].upper(), words[1] if len(words) > 1 else ""
    if keyword not in KEYWORDS:
        raise Wrong(*_place(source, ""), f"unknown instruction {words[0]!r}{_near(keyword, KEYWORDS)}")
    flags, rest = _flags(keyword, rest, source)
    documents: list[Heredoc] = []
    inner = rest.split(None, 1)[0].upper() if keyword == "ONBUILD" and rest.strip() else keyword
    if inner in _HEREDOC:
        documents, number = heredocs(lines, number, source, source.text.rfind(rest) if rest else len(source.text))
    if not rest.strip() and keyword not in ("ENTRYPOINT", "CMD"):
        raise Wrong(*_place(source, ""), f"{keyword} says nothing")
    text = "\n".join(lines[start:number]).strip()
    made = Instruction(keyword, tuple(flags), rest, json_form(rest), tuple(documents), text, source)
    return made, number


def _flags(keyword: str, rest: str, source: Source) -> tuple[list[tuple[str, str]], str]:
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
            name = matched[1] if matched else word.partition("=")[0].lstrip("-")
            near = _near(name, known, "--") or f"; it has {', '.join(f'--{one}' for one in sorted(known))}"
            raise Wrong(*_place(source, word), f"{keyword} has no flag --{name}{near}")
        if not matched[2] and matched[1] not in _SWITCHES:
            raise Wrong(*_place(source, word), f"{keyword}: --{matched[1]} needs a value: --{matched[1]}=…")
        found.append((matched[1], matched[2] or ""))
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


def json_form(rest: str) -> tuple[str, ...] | None:
    """The words of the JSON form; what only looks like it is the shell form, as in Docker."""
    if not rest.lstrip().startswith("["):
        return None
    try:
        value = json.loads(rest)
    except ValueError:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return tuple(value)


def _place(source: Source, word: str) -> tuple[int, int]:
    """Line and column of a word after the instruction's own; of the instruction, where it is not there as such."""
    begin = len(source.text) - len(source.text.lstrip())
    at = source.text.find(word, begin + len(source.text.split(None, 1)[0])) if word else -1
    return source.at(at if at >= 0 else begin)


def _near(word: str, known: Collection[str], before: str = "") -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {before}{near[0]}?" if near else ""


__all__ = ["Dockerfile", "Heredoc", "Instruction", "Wrong", "json_form", "parse"]
