"""--chmod: octal digits, or the symbols of chmod(1). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

Change = Callable[[int, bool], int]  # (permission bits before, is it a directory) → after
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_DEED = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}


def parse(text: str) -> Change | None:
    """None for an empty text: modes stay as they are. Raises ValueError."""
    if not text:
        return None
    if re.fullmatch(r"0?[0-7]{1,4}", text):
        return lambda mode, directory: int(text, 8)
    clauses = [_CLAUSE.fullmatch(part) for part in text.split(",")]
    if not all(clauses):
        raise ValueError(f"--chmod must be octal digits such as 0644, or symbols such as u=rwX,go=rX, not {text!r}")
    deeds = [(found[1] or "a", *deed) for found in clauses if found for deed in _DEED.findall(found[2])]

    def change(mode: int, directory: bool) -> int:
        for who, sign, what in deeds:
            mode = _changed(mode, directory, who.replace("a", "ugo"), sign, what)
        return mode

    return change


def _changed(mode: int, directory: bool, who: str, sign: str, what: str) -> int:
    bits = 0
    for one in who:
        bits |= _bits(mode, directory, what) << _SHIFTS[one]
    bits |= 0o4000 if "s" in what and "u" in who else 0
    bits |= 0o2000 if "s" in what and "g" in who else 0
    bits |= 0o1000 if "t" in what else 0
    if sign == "+":
        return mode | bits
    if sign == "-":
        return mode & ~bits
    covered = sum(0o7 << _SHIFTS[one] for one in set(who))
    covered |= (0o4000 if "u" in who else 0) | (0o2000 if "g" in who else 0)
    return (mode & ~covered) | bits


def _bits(mode: int, directory: bool, what: str) -> int:
    """Of one of user, group and others."""
    if what in _SHIFTS:
        return mode >> _SHIFTS[what] & 7
    execute = "x" in what or ("X" in what and (directory or mode & 0o111))
    return (4 if "r" in what else 0) | (2 if "w" in what else 0) | (1 if execute else 0)
