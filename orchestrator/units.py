"""`512Mi`, `250m`, `30s`: the words for amounts, read and written. Standard library only; ValueErrors are sentences.

Sizes are bytes and every multiple is binary (1k = 1024), as in Compose and Docker. Durations are seconds, written as
Go writes them, which is what the Compose Specification asks for. Cpus are cores.
"""

from __future__ import annotations

import re

_SIZE = r"(?i)((?:\d+(?:\.\d*)?|\.\d+)(?:e\d{1,2})?)\s*([kmgtp]?)(i?b?)"
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION_PART = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w)"
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SECONDS |= {"d": 86400.0, "w": 604800.0}
_LONGEST = 100  # letters of any amount: longer ones are refused unread
_CPUS = r"((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,2})?)(m?)"


def size(word: str | int | float) -> int:
    """Bytes of "512Mi", "1.5g", "100kb", "64b" or a plain number. ValueError says what was expected."""
    if isinstance(word, (int, float)) and not isinstance(word, bool):
        if word < 0:
            raise ValueError(f"a size cannot be negative: {word}")
        return int(word)
    text = str(word).strip()
    found = re.fullmatch(_SIZE, text) if len(text) <= _LONGEST else None
    if not found or (found[3].lower() == "i" and not found[2]):
        raise ValueError(f"expected a size such as 512M, 1.5g or 1048576, but found {word!r}")
    return int(float(found[1]) * 1024 ** _POWER[found[2].lower()])


def duration(word: str | int | float) -> float:
    """Seconds of "1h30m", "1.5s", "100ms". A bare number has no unit and is refused, as Compose does; 0 needs none."""
    text = str(word).strip()
    if text == "0":
        return 0.0
    seconds, end = 0.0, 0
    for part in re.finditer(_DURATION_PART, text[:_LONGEST]):
        if part.start() != end:
            break
        seconds, end = seconds + float(part[1]) * _SECONDS[part[2]], part.end()
    if not text or end != len(text):
        hint = f"; did you mean '{text}s'?" if re.fullmatch(r"\d+(\.\d+)?", text) else ""
        raise ValueError(f"expected a duration such as 1m30s or 500ms, but found {word!r}{hint}")
    return round(seconds, 9)


def cpus(word: str | int | float) -> float:
    """Cores of "0.5", 2 or "250m" (thousandths of a core)."""
    text = str(word).strip()
    found = None if isinstance(word, bool) or len(text) > _LONGEST else re.fullmatch(_CPUS, text)
    if not found:
        raise ValueError(f"expected a number of cpus such as 0.5, 2 or 250m, but found {word!r}")
    return float(found[1]) / (1000 if found[2] else 1)


def human_bytes(amount: int) -> str:
    """The shortest word for `amount` that `size` reads, one decimal at most: "512M", "1.5G", "100B"."""
    for power, unit in ((5, "P"), (4, "T"), (3, "G"), (2, "M"), (1, "K")):
        if abs(amount) >= 1024**power:
            return f"{amount / 1024**power:.1f}".removesuffix(".0") + unit
    return f"{amount}B"


def exact_bytes(amount: int) -> str:
    """`human_bytes` where that says just this amount, else the number: two sizes are told apart."""
    text = human_bytes(amount)
    return text if amount >= 0 and size(text) == amount else str(amount)


def human_seconds(seconds: float) -> str:
    """The word for a duration that `duration` reads back: "1m30s", "1.5s", "100ms", "0s"."""
    if seconds < 0:
        return "-" + human_seconds(-seconds)
    if 0 < seconds < 1:
        for factor, unit in ((1e3, "ms"), (1e6, "us"), (1e9, "ns")):
            if seconds * factor >= 0.9995:
                return f"{seconds * factor:.6g}{unit}"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    words = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
    return words + (f"{rest:.9f}".rstrip("0").rstrip(".") + "s" if rest or not words else "")


def human_cpus(cores: float) -> str:
    """Cores with at most three decimals and no padding: "0.5", "2"."""
    return f"{cores:.3f}".rstrip("0").rstrip(".")
