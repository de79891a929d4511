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
    found += [("weight_device", str(row["path"]), _weight(row["weight"])) for row in config.get("weight_device") or ()]
    for key in _RATES:
        found += [(key, str(row["path"]), _rate(row["rate"])) for row in config.get(key) or ()]
    return tuple(found)


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
