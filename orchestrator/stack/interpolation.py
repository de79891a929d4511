"""`${NAME:-default}` in a scalar: every form of the Compose Specification ("Interpolation"), nested ones too.

A value put in is not looked at again. `$$` is a literal dollar; any other dollar that starts no name is a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LONGEST = 1 << 20  # characters of one interpolated text: variables built of variables must not become a bomb

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATOR = re.compile(r":[-?+]|[-?+]")


class Malformed(ValueError):
    """The text cannot be interpolated; the sentence says why and what to write instead."""


def interpolate(text: str, values: Mapping[str, str], unset: Callable[[str], None]) -> str:
    """`text` with every variable replaced. `unset` hears the names that have no value and no default."""
    result, _ = _Reader(text, values, unset).until(0, closing=False, live=True, depth=0)
    return result


@dataclass(frozen=True, slots=True)
class _Reader:
    """One text being read. A branch that is not `live` is read for its end only: it neither warns nor demands."""

    text: str
    values: Mapping[str, str]
    unset: Callable[[str], None]

    def until(self, at: int, *, closing: bool, live: bool, depth: int) -> tuple[str, int]:
        """Read from `at` to the end, or to the brace that closes this level; (what it becomes, where it ended)."""
        if depth > 50:
            raise Malformed("variables are nested deeper than 50 levels")
        text, parts, room = self.text, list[str](), max(LONGEST, len(self.text))
        while at < len(text):
            room -= len(parts[-1]) if parts else 0
            if room < 0:
                raise Malformed(f"the text grows beyond {LONGEST} characters when its variables are filled in")
            if closing and text[at] == "}":
                return "".join(parts), at
            if text[at] != "$":
                stop = self._next_special(at, closing)
                parts.append(text[at:stop])
                at = stop
            elif text.startswith("$$", at):
                parts.append("$")
                at += 2
            elif found := _NAME.match(text, at + 1):
                parts.append(self._value(found[0], live))
                at = found.end()
            elif text.startswith("${", at):
                part, at = self._braced(at + 2, live, depth)
                parts.append(part)
            else:
                raise Malformed(f"cannot interpolate {text[at : at + 20]!r}: write $$ for a literal $")
        if closing:
            raise Malformed("a '${' is never closed: '}' is missing; write $$ for a literal $")
        return "".join(parts), at

    def _braced(self, at: int, live: bool, depth: int) -> tuple[str, int]:
        """Read what follows `${`; (what it becomes, where reading goes on)."""
        found = _NAME.match(self.text, at)
        if not found:
            raise Malformed(f"cannot interpolate {self.text[at - 2 : at + 18]!r}: a name must follow '${{'")
        name, at = found[0], found.end()
        if self.text.startswith("}", at):
            return self._value(name, live), at + 1
        operator = _OPERATOR.match(self.text, at)
        if not operator:
            raise Malformed(
                f"cannot interpolate '${{{name}': expected '}}', ':-', '-', ':?', '?', ':+' or '+' after it"
            )
        value = self.values.get(name)
        is_set = bool(value) if operator[0].startswith(":") else value is not None
        kind = operator[0][-1]
        chosen = is_set if kind == "+" else not is_set  # the word after the operator counts only where it is chosen
        word, end = self.until(operator.end(), closing=True, live=live and chosen, depth=depth + 1)
        if kind == "?" and chosen and live:
            state = "is empty" if value == "" else "is not set"
            raise Malformed(f"required variable {name} {state}" + (f": {word}" if word else ""))
        if kind == "+":
            return (word if is_set else ""), end + 1
        return ((value or "") if is_set else word), end + 1

    def _next_special(self, at: int, closing: bool) -> int:
        stops = (self.text.find("$", at), self.text.find("}", at) if closing else -1)
        return min((stop for stop in stops if stop >= 0), default=len(self.text))

    def _value(self, name: str, live: bool) -> str:
        if name not in self.values and live:
            self.unset(name)
        return self.values.get(name, "")
