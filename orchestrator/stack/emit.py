"""Plain maps, lists and scalars → YAML in the hand of Go's yaml.v3, which docker compose writes: lists are indented, a
text that could be read as something else is in double quotes, several lines are a literal block.

PyYAML's emitters do one or the other, or take a second for a large stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cmp_to_key
from typing import Any

from orchestrator.stack.scalars import Date, typed, words

# ruff: noqa: SIM905 (words in a row read better than a column of quotes)
_OLD_BOOLEANS = frozenset("y Y yes Yes YES on On ON n N no No NO off Off OFF".split())
_PLAIN = r"[A-Za-z0-9_/.$(<~][A-Za-z0-9_/.$()<>~+=@^;|&*!%'\"`,\[\]{}?-]*"  # certainly needs no quotes, if it is text
_SEXAGESIMAL = r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
_SPECIAL = r"[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]"
_SHORT = dict(zip('"\\\0\a\b\t\n\v\f\r\x1b\x85\u2028\u2029', '"\\0abtnvfreNLP', strict=True))  # YAML 1.2, 5.7
_NOT_FINITE = {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}
_INDICATORS = frozenset("#,[]{}&*!|>'\"%@`")


def emit(value: dict[str, Any]) -> str:
    """The whole document, one line for each key."""
    return "".join(_lines(value, "")) if value else "{}\n"


def natural(key: str) -> Any:
    """The order of a map's keys: letters after all else, numbers by what they say."""
    return _ORDER(key)


def _compared(one: str, other: str) -> int:
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if at is None:
        return len(one) - len(other)
    a, b = one[at], other[at]
    if a.isalpha() and b.isalpha():
        return -1 if a < b else 1
    if a.isalpha() or b.isalpha():
        first = a.isalpha() if at and one[at - 1].isdigit() else b.isalpha()
        return -1 if first else 1
    sizes = [_number(text, at, "0" in (a, b)) for text in (one, other)]
    return -1 if (*sizes[0], a) < (*sizes[1], b) else 1


def _number(text: str, at: int, zero: bool) -> tuple[int, int]:
    """What the digits from `at` on say, and how many they are; a zero counts where digits stand before it."""
    digits = text[at : at + len(text[at:]) - len(text[at:].lstrip("0123456789"))]
    before = text[:at]
    led = zero and bool(before[len(before.rstrip("0123456789")) :].strip("0"))
    return int(("1" if led else "0") + digits), len(digits)


_ORDER = cmp_to_key(_compared)


def _lines(value: Any, indent: str) -> Iterator[str]:
    """The lines of a map or list that is not empty."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _entry(f"{indent}{scalar(key, indent)}:", inner, indent + "  ")
    else:
        for item in value:
            yield from _item(item, indent)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head + "\n"
        yield from _lines(value, indent)
    else:
        yield f"{head} {_short(value, indent)}\n"


def _item(item: Any, indent: str) -> Iterator[str]:
    """A map or list within a list begins on the line of its dash."""
    if isinstance(item, dict | list) and item:
        lines = _lines(item, indent + "  ")
        first = next(lines)
        yield f"{indent}- {first[len(indent) + 2 :]}"
        yield from lines
    else:
        yield f"{indent}- {_short(item, indent + '  ')}\n"


def _short(value: Any, indent: str) -> str:
    if isinstance(value, dict):
        return "{}"
    return "[]" if isinstance(value, list) else scalar(value, indent)


def scalar(value: Any, indent: str) -> str:
    """One scalar; the lines of a block are `indent`ed."""
    if value is None:
        return "null"
    if isinstance(value, Date):
        return value
    if not isinstance(value, str):
        return _NOT_FINITE.get(text := words(value), text)
    if value in _OLD_BOOLEANS or value == "<<" or not isinstance(typed(value), str):
        return f'"{value}"'
    if "\n" in value and " \n" not in value and not re.search(_SPECIAL, value):
        return _block(value, indent)
    if re.search(_SPECIAL, value) or "\n" in value or "\t" in value:
        return _escaped(value)
    if isinstance(typed(value), Date) or re.fullmatch(_SEXAGESIMAL, value):
        return f'"{value}"'
    return value if _is_plain(value) else "'" + value.replace("'", "''") + "'"


def _is_plain(text: str) -> bool:
    if text.startswith(("---", "...")):
        return False
    if re.fullmatch(_PLAIN, text):
        return True
    first, second = text[0], text[1:2]
    if first in _INDICATORS or (first in "?:-" and second in ("", " ", "\t")):
        return False
    if text[0] in " \t" or text[-1] in " \t":
        return False
    return ": " not in text and ":\t" not in text and " #" not in text and "\t#" not in text and text[-1] != ":"


def _block(text: str, indent: str) -> str:
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    chomp = "-" if ends == 0 else "" if ends == 1 and body else "+"
    hint = str(2) if text[0] in " \n" else ""
    lines = [indent + line if line else "" for line in text.removesuffix("\n").split("\n")]
    if chomp == "-":
        lines = [indent + line if line else "" for line in text.split("\n")]
    return f"|{hint}{chomp}\n" + "\n".join(lines)


def _escaped(text: str) -> str:
    """In double quotes; behind a byte order mark yaml.v3 takes no letter for printable."""
    special = "." if text[0] == "\ufeff" else rf'["\\\\\n\t]|{_SPECIAL}'
    return '"' + re.sub(special, _escape, text, flags=re.DOTALL) + '"'


def _escape(found: re.Match[str]) -> str:
    letter = found[0]
    number = ord(letter)
    if letter in _SHORT:
        return f"\\{_SHORT[letter]}"
    return f"\\x{number:02X}" if number < 0x100 else f"\\u{number:04X}" if number < 0x10000 else f"\\U{number:08X}"
