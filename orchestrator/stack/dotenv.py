"""`.env` and `env_file`: lines of NAME=value, as Compose reads them (Compose "env_file format").

Quotes: 'literal', "with escapes and variables", or bare up to " #"; quoted values may span lines. `export` is allowed,
`:` may stand for `=`, and a bare NAME is the caller's. `raw`: what stands behind the `=` is the value, as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from orchestrator.stack.interpolation import LONGEST as LONGEST
from orchestrator.stack.interpolation import Malformed, interpolate
from orchestrator.stack.places import Complaints, Place, Source

_SPACE = "\\t\\v\\f\\r \x85\xa0"  # blanks that end no line
_START = re.compile(rf"(?:[{_SPACE}\n]|#[^\n]*(?=\n|$))*")
_EXPORT = re.compile(rf"export[{_SPACE}\n]+")
_KEY = re.compile(rf"(?:[^\W]|[.\-\[\]{_SPACE}])*", re.UNICODE)
_BLANKS = re.compile(rf"[{_SPACE}]*")
_ESCAPE = re.compile(r'\\(?:([abcfnrtv$"\\])|0(\d{0,3}))')
_LETTERS = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "$": "$$",
}


def parse(
    text: str,
    source: Source,
    outside: Mapping[str, str],
    complaints: Complaints,
    *,
    raw: bool = False,
    earlier: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """The variables of one file, in its order. `outside`: what `$NAME` sees before the file's own earlier lines;
    `earlier`: what it sees behind them."""
    text = text.replace("\r\n", "\n")
    values = dict(earlier)
    names: dict[str, None] = {}
    at = grown = 0
    while (at := _START.match(text, at).end() if not raw else at) < len(text):  # type: ignore[union-attr]
        start = at
        try:
            at, name = (_raw if raw else _statement)(text, at, values, outside)
        except Malformed as error:
            complaints.add(Place(source, text.count("\n", 0, start) + 1, 1), str(error))
            at, name = _end_of_line(text, start) + 1, None
        if name is not None:
            names[name] = None
        grown += len(values.get(name or "", ""))
        if grown > LONGEST:
            line = text.count("\n", 0, start) + 1
            complaints.add(Place(source, line, 1), f"the values of this file grow beyond {LONGEST} characters")
            break
    return {name: values[name] for name in names if name in values}


def _statement(text: str, at: int, values: dict[str, str], outside: Mapping[str, str]) -> tuple[int, str | None]:
    """Take one assignment into `values`; where it ended, and its name."""
    line = text[at : _end_of_line(text, at)]
    if found := _EXPORT.match(text, at):
        at = found.end()
    key = _KEY.match(text, at)
    assert key is not None  # the pattern matches nothing, too
    end = key.end()
    sign = text[end : end + 1]
    if sign not in ("=", ":", "\n", ""):
        raise Malformed(f"expected NAME=value, but found {line[:40]!r}: {sign!r} cannot stand in a name")
    if not sign:  # the last line, without an end: Compose takes what stands there for a value without a name
        values[""], at = _value(text, at, "", values, outside)
        return at, ""
    name = key[0].strip()
    if " " in name:
        raise Malformed(f"expected NAME=value, but found {line[:40]!r}: a name has no blanks")
    if sign == "\n":
        if name not in outside:
            return end + 1, None
        values[name] = outside[name]
        return end + 1, name
    blanks = _BLANKS.match(text, end + 1)
    assert blanks is not None
    values[name], at = _value(text, blanks.end(), name, values, outside)
    return at, name


def _value(text: str, at: int, name: str, values: Mapping[str, str], outside: Mapping[str, str]) -> tuple[str, int]:
    """(the value that begins at `at`, where it ends)."""
    seen = {**values, **outside}
    quote = text[at : at + 1]
    if quote not in ("'", '"'):
        end = _end_of_line(text, at)
        bare = text[at:end].partition(" #")[0].rstrip()
        return interpolate(bare, seen, lambda _: None), end + 1
    letters, end = _quoted(text, at, name)
    if quote == "'":
        return letters, end
    return interpolate(_ESCAPE.sub(_unescaped, letters), seen, lambda _: None), end


def _quoted(text: str, at: int, name: str) -> tuple[str, int]:
    """What stands between the quotes, the escaped quote bare; where the closing one is passed."""
    quote, letters, start = text[at], list[str](), at
    at += 1
    while at < len(text):
        letter = text[at]
        if letter == quote:
            return "".join(letters), at + 1
        if letter == "\\" and at + 1 < len(text):
            following = text[at + 1]
            letters.append(following if following == quote else letter + following)
            at += 2
        else:
            letters.append(letter)
            at += 1
    raise Malformed(f"the quote that opens the value of {name} is never closed: {text[start : start + 20]!r}")


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        return _LETTERS.get(found[1], found[0])
    try:
        byte = int(found[2], 8)
    except ValueError:
        return found[0]
    return chr(byte) if len(found[2]) == 3 and byte < 256 else found[0]


def _raw(text: str, at: int, values: dict[str, str], outside: Mapping[str, str]) -> tuple[int, str | None]:
    end = _end_of_line(text, at)
    line = text[at:end].lstrip()
    if not line or line.startswith("#"):
        return end + 1, None
    name, equals, value = line.partition("=")
    if not name or any(letter.isspace() for letter in name):
        raise Malformed(f"expected NAME=value, but found {line[:40]!r}: a name has no blanks")
    if equals:
        values[name] = value
    elif name in outside:
        values[name] = outside[name]
    return end + 1, name


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
