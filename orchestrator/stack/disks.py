"""`cpuset` and `blkio_config`: which processors, and how much of which disk."""

from __future__ import annotations

import re
from typing import Any

from orchestrator import units

_RATES = ("device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops")


def cpuset(word: Any) -> str:
    text = str(word).replace(" ", "")
    if text and not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise ValueError(f"expected processors such as 0-3 or 0,2, but found {word!r}")
    return text


def blkio(config: dict[str, Any]) -> tuple[tuple[str, str, int], ...]:
    found = [("weight", "", _weight(config["weight"]))] if config.get("weight") else []
    for row in config.get("weight_device") or ():
        found.append(("weight_device", str(_said(row, "path")), _weight(_said(row, "weight"))))
    for key in _RATES:
        found += [(key, str(_said(row, "path")), _rate(_said(row, "rate"))) for row in config.get(key) or ()]
    return tuple(found)


def _said(row: dict[str, Any], key: str) -> Any:
    if key not in row:
        raise ValueError(f"'{key}' is missing from one of its entries")
    return row[key]


def _weight(word: Any) -> int:
    weight = int(word)
    if not 10 <= weight <= 1000:
        raise ValueError(f"expected a weight from 10 to 1000, but found {word!r}")
    return weight


def _rate(word: Any) -> int:
    rate = units.size(word)
    if rate < 1:
        raise ValueError(f"expected a rate above 0, but found {word!r}")
    return rate
