"""Which files of a build's context are not to be seen: .dockerignore. Pure.

https://docs.docker.com/build/concepts/context/#dockerignore-files: Go's filepath.Match a line, `**` for any number of
directories, `!` brings back, the last line that fits decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: re.Pattern[str]
    brings_back: bool


def lines(text: str) -> list[str]:
    """The patterns of a file, in its order."""
    return [line.strip() for line in text.removeprefix("\ufeff").splitlines() if line.strip() and line[0] != "#"]


def rules(patterns: Iterable[str]) -> tuple[Rule, ...]:
    """Raises ValueError for a pattern that is none."""
    made = []
    for line in patterns:
        back = line.startswith("!")
        word = line.removeprefix("!").strip()
        parts = [part for part in word.split("/") if part not in ("", ".")]
        if parts:
            made.append(Rule(re.compile(_regular(parts) + r"(?:/.*)?"), back))
    return tuple(made)


def ignored(path: str, known: tuple[Rule, ...]) -> bool:
    """Whether a path below the context (no '/' before it) is not to be seen. A directory's rule holds for all in it."""
    out = False
    for rule in known:
        if rule.brings_back == out and rule.pattern.fullmatch(path):
            out = not rule.brings_back
    return out


def may_hold(known: tuple[Rule, ...]) -> bool:
    """Whether something in an ignored directory could be brought back, so that it must be looked into."""
    return any(rule.brings_back for rule in known)


def matches(path: str, pattern: str) -> bool:
    """Go's filepath.Match, part by part: a '*' never crosses a '/'. Raises ValueError for a pattern that is none."""
    return re.fullmatch(_regular(pattern.split("/")), path) is not None


def _regular(parts: Sequence[str]) -> str:
    """`**` is any number of directories; as the last part, everything."""
    last = len(parts) - 1
    words = ("(?:[^/]+/)*" if part == "**" and at < last else _part(part) for at, part in enumerate(parts))
    return "".join(word if word.endswith("/)*") or at == last else f"{word}/" for at, word in enumerate(words))


def _part(part: str) -> str:
    """One part of a pattern as a regular expression."""
    if part == "**":
        return ".*"
    made, at = "", 0
    while at < len(part):
        letter = part[at]
        at += 1
        if letter == "*":
            made += "[^/]*"
            while part.startswith("*", at):
                at += 1
        elif letter == "?":
            made += "[^/]"
        elif letter == "\\" and at < len(part):
            made += re.escape(part[at])
            at += 1
        elif letter == "[":
            end = part.find("]", at + 1)
            if end < 0:
                raise ValueError(f"a [ is not closed in {part!r}")
            inner = part[at:end]
            negated, inner = inner.startswith("^"), inner.removeprefix("^")
            made += ("[^" if negated else "[") + re.sub(r"([\\\[&|~])", r"\\\1", inner) + "]"
            at = end + 1
        else:
            made += re.escape(letter)
    return made
