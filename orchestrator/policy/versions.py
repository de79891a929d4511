"""Semantic versions in tag names, and the ranges people write for them: the newest tag that satisfies a range.

Precedence is that of semver.org 2.0.0, section 11. A range is comparators that must all hold (">=1.2 <2", "^1.4",
"~1.4.2", "1.x", "1.2.3"), or several such sets divided by "||". A pre-release satisfies a range only where the range
names one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_TAG = re.compile(r"(?:.*/)?v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
_WORD = re.compile(r"(>=|<=|>|<|=|\^|~)?\s*v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:-([0-9A-Za-z.-]+))?")

Numbers = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Version:
    numbers: Numbers
    pre: str = ""

    @property
    def rank(self) -> tuple[Numbers, tuple[tuple[int, int, str], ...]]:
        """Greater means newer: no pre-release is newer than any; numbers come before words (section 11.4)."""
        if not self.pre:
            return self.numbers, ((2, 0, ""),)
        return self.numbers, tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre.split("."))


def version(tag: str) -> Version | None:
    """`v1.2.3-rc.1`, also behind a folder (`web/v1.2.3`); None where the tag is no version."""
    found = _TAG.fullmatch(tag)
    return Version((int(found[1]), int(found[2]), int(found[3])), found[4] or "") if found else None


def newest(tags: Iterable[str], wanted: str) -> str | None:
    """The tag with the highest version within the range. ValueError says what is wrong with the range."""
    sets = [[*_bounds(part)] for part in wanted.split("||")]
    fitting = [
        (found.rank, tag) for tag in tags if (found := version(tag)) and any(_within(found, bounds) for bounds in sets)
    ]
    return max(fitting)[1] if fitting else None


def _within(found: Version, bounds: list[tuple[str, Version]]) -> bool:
    if found.pre and not any(bound.pre and bound.numbers == found.numbers for _, bound in bounds):
        return False
    tests = {
        ">=": lambda bound: found.rank >= bound.rank,
        "<": lambda bound: found.rank < bound.rank,
        ">": lambda bound: found.rank > bound.rank,
        "<=": lambda bound: found.rank <= bound.rank,
    }
    return all(tests[sign](bound) for sign, bound in bounds)


def _bounds(part: str) -> list[tuple[str, Version]]:
    """A set of comparators as plain bounds."""
    words = part.replace(",", " ").strip()
    bounds: list[tuple[str, Version]] = []
    at = 0
    while at < len(words):
        found = _WORD.match(words, at)
        if not found:
            raise ValueError(f"expected a range such as ^1.4, ~1.4.2, 1.x or '>=1.2 <2', but found {part.strip()!r}")
        bounds += _pair(found[1] or "", [found[2], found[3], found[4]], found[5] or "")
        at = found.end()
        while at < len(words) and words[at] == " ":
            at += 1
    if not bounds:
        raise ValueError("expected a range such as ^1.4, ~1.4.2, 1.x or '>=1.2 <2', but found nothing")
    return bounds


def _pair(sign: str, parts: list[str | None], pre: str) -> list[tuple[str, Version]]:
    known = [int(part) for part in parts if part is not None and part.isdigit()]
    low: Numbers = (*known, 0, 0, 0)[:3]  # type: ignore[assignment]  # three of them, whatever was written
    start = Version(low, pre)
    if not known:  # "*"
        return [(">=", start)]
    match sign:
        case "^":
            fixed = next((at for at, number in enumerate(low) if number), 2)
            return [(">=", start), ("<", Version(_raised(low, min(fixed, len(known) - 1))))]
        case "~":
            return [(">=", start), ("<", Version(_raised(low, min(1, len(known) - 1))))]
        case ">" if len(known) < 3:
            return [(">=", Version(_raised(low, len(known) - 1)))]
        case "<=" if len(known) < 3:
            return [("<", Version(_raised(low, len(known) - 1)))]
        case "" | "=" if len(known) < 3:
            return [(">=", start), ("<", Version(_raised(low, len(known) - 1)))]
        case "" | "=":
            return [(">=", start), ("<=", start)]
    return [(sign, start)]


def _raised(numbers: Numbers, at: int) -> Numbers:
    raised = [*numbers[:at], numbers[at] + 1, 0, 0, 0]
    return raised[0], raised[1], raised[2]
