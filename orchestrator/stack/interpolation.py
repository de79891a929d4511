"""`${NAME:-default}` in a scalar: every form of the Compose Specification ("Interpolation"), nested ones too.

A value put in is not looked at again. `$$` is a literal dollar, and so is one that starts no name and no brace.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

LONGEST = 1 << 20  # characters of one interpolated text: variables built of variables must not become a bomb
DEEPEST = 50  # defaults within defaults

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATOR = re.compile(r":[-?+]|[-?+]")
_BRACE = re.compile(r"[{}\n]")
_BRACES = 1_000  # open ones on one line


class Malformed(ValueError):
    """The text cannot be interpolated; the sentence says why and what to write instead."""


def interpolate(text: str, values: Mapping[str, str], unset: Callable[[str], None], depth: int = 0) -> str:
    """`text` with every variable replaced. `unset` hears the names that have no value and no default."""
    if depth > DEEPEST:
        raise Malformed(f"variables are nested deeper than {DEEPEST} levels")
    parts, at, room = list[str](), 0, max(LONGEST, len(text))
    while (dollar := text.find("$", at)) >= 0:
        parts.append(text[at:dollar])
        if text.startswith("$$", dollar):
            part, at = "$", dollar + 2
        elif found := _NAME.match(text, dollar + 1):
            part, at = _value(found[0], values, unset), found.end()
        elif text.startswith("${", dollar):
            part, at = _braced(text, dollar, values, unset, depth)
        else:
            part, at = "$", dollar + 1
        parts.append(part)
        room -= len(part)
        if room < 0:
            raise Malformed(f"the text grows beyond {LONGEST} characters when its variables are filled in")
    return "".join([*parts, text[at:]])


def _braced(
    text: str, start: int, values: Mapping[str, str], unset: Callable[[str], None], depth: int
) -> tuple[str, int]:
    """Read the `${…}` at `start`; (what it becomes, where reading goes on).

    The word after the operator is filled in whether or not it is needed: what it demands is demanded. Compose does so.
    """
    found = _NAME.match(text, start + 2)
    if not found:
        raise Malformed(f"cannot interpolate {text[start : start + 20]!r}: a name must follow '${{'; write $$ for a $")
    name, at = found[0], found.end()
    if text.startswith("}", at):
        return _value(name, values, unset), at + 1
    operator = _OPERATOR.match(text, at)
    if not operator:
        if at >= len(text):
            raise Malformed("a '${' is never closed: '}' is missing; write $$ for a literal $")
        raise Malformed(f"cannot interpolate '${{{name}': expected '}}', ':-', '-', ':?', '?', ':+' or '+' after it")
    end = _closing(text, start, operator.end())
    value = values.get(name)
    is_set = bool(value) if operator[0].startswith(":") else value is not None
    kind = operator[0][-1]
    needed = is_set if kind == "+" else not is_set
    word = interpolate(text[operator.end() : end], values, unset if needed else lambda _: None, depth + 1)
    if kind == "?" and needed:
        state = "is empty" if value == "" else "is not set"
        raise Malformed(f"required variable {name} {state}" + (f": {word}" if word else ""))
    if kind == "+":
        return (word if is_set else ""), end + 1
    return ((value or "") if is_set else word), end + 1


def _closing(text: str, start: int, at: int) -> int:
    """Where the brace closes that opens behind `start`: on the same line, inner ones counted (the one right behind an
    opening brace is not), or the line's last where they do not come out even: Compose's own way of looking."""
    depth, last, here = 0, -1, start
    while (found := _BRACE.search(text, here)) and found[0] != "\n":
        here = found.end()
        if found[0] == "}":
            depth, last = depth - 1, found.start()
            if not depth:
                return last
            continue
        depth += 1
        if depth > _BRACES:
            raise Malformed(f"braces are nested deeper than {_BRACES} levels")
        if text.startswith(("{", "}"), here):
            last, here = here if text[here] == "}" else last, here + 1
    if last < at:
        raise Malformed("a '${' is never closed: '}' is missing on its line; write $$ for a literal $")
    return last


def _value(name: str, values: Mapping[str, str], unset: Callable[[str], None]) -> str:
    if name not in values:
        unset(name)
    return values.get(name, "")


def variables_of(text: str) -> Iterator[tuple[str, bool, str, str]]:
    """The variables that a text names: (name, whether it must be set, its default, what stands for it where set)."""
    at = 0
    while (at := text.find("$", at)) >= 0:
        if text.startswith("$$", at):
            at += 2
            continue
        braced = text.startswith("${", at)
        found = _NAME.match(text, at + 1 + braced)
        if not found:
            at += 1
            continue
        name, at = found[0], found.end()
        operator = _OPERATOR.match(text, at) if braced else None
        if not operator:
            yield name, False, "", ""
            continue
        try:
            end = _closing(text, found.start() - 2, operator.end())
        except Malformed:
            return
        word, kind, at = text[operator.end() : end], operator[0][-1], end
        yield name, kind == "?", word if kind == "-" else "", word if kind == "+" else ""
        yield from variables_of(word)
