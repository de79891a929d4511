"""YAML's plain scalars as Compose reads them: YAML 1.2 core, plus 017 as octal and 1_000.

`22:22`, `on` and `1.2.3` stay text. A date such as 2024-01-01 is a date, which no key takes: quotes make it text.
"""

from __future__ import annotations

import math
import re
from typing import Any

_INT = r"([-+]?)(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?"
_DATE = (  # with a T there must be a zone, with a space there is none
    r"(\d{4})-(\d\d?)-(\d\d?)(?:(?:[Tt](?=.*(?:Z|[-+]\d\d:\d\d)$)| (?=.*\d$))"
    r"(\d\d?):(\d\d?):(\d\d?)(?:\.(\d+))?(Z|(?<!-)[-+]\d\d:\d\d)?)?"
)
CONSTANTS: dict[str, object] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
CONSTANTS |= {sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")}
CONSTANTS |= dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan)
NUMERIC = frozenset("0123456789+-.")
TRUTH: dict[str, bool] = {word: True for word in ("true", "y", "yes", "on")}
TRUTH |= {word: False for word in ("false", "n", "no", "off")}


class Date(str):
    """What YAML reads as a date, as RFC 3339 writes it."""

    __slots__ = ()


def typed(text: str) -> Any:
    """A plain scalar's value; the same object where it is text."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    if text[0] not in NUMERIC or len(text) > 350:
        return text
    if found := re.fullmatch(_INT, text):
        number = _integer(found[1], found[2].replace("_", ""))
        if number is not None:
            return number if -(2**63) <= number < 2**64 else float(number)
    if re.fullmatch(_FLOAT, text):
        real = float(text.replace("_", ""))
        return real if math.isfinite(real) else text
    if found := re.fullmatch(_DATE, text):
        return _date(found) or text
    return text


def _integer(sign: str, digits: str) -> int | None:
    """None: the underscores left nothing to read."""
    base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 8 if digits[0] == "0" and digits != "0" else 10)
    digits = digits[2:] if digits[:2] in ("0b", "0o", "0x") else digits
    return int(sign + digits, base) if digits else None


def _date(found: re.Match[str]) -> Date | None:
    from datetime import UTC, datetime  # dates are rare

    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    offset = "+00:00" if found[8] in (None, "Z") else found[8]
    try:
        moment = datetime(year, month, day, hour, minute, second, int((found[7] or "0").ljust(6, "0")[:6]), UTC)
        return Date(moment.replace(tzinfo=datetime.strptime(offset, "%z").tzinfo).isoformat().replace("+00:00", "Z"))
    except ValueError:
        return None


def words(value: object) -> str:
    """A scalar as Compose writes it into a text (Go's %v): true, 1.5, 1000, 1e+06, +Inf."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _real(value)
    return "" if value is None else str(value)


def _real(value: float) -> str:
    """The shortest digits that mean it; with an exponent where the point stands behind the sixth digit."""
    from decimal import Decimal  # real numbers are rare

    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value and not 1e-4 <= abs(value) < 1e6:
        digits, exponent = f"{Decimal(repr(value)):e}".lower().split("e")
        digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
        return f"{digits}e{exponent[0]}{exponent[1:].rjust(2, '0')}"
    return f"{Decimal(repr(value)):f}".removesuffix(".0")
