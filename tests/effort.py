"""How hard to try: `make test` sets PYORCH_SEEDS=5000, and every test that draws its cases draws as many as it says;
`make check` is to take seconds, and draws a tenth."""

from __future__ import annotations

import os

FULL = 5000
SEEDS = int(os.environ.get("PYORCH_SEEDS", str(FULL // 10)))


def examples(number: int) -> int:
    """Of `number` cases in a whole run as many as are to be drawn in this one."""
    return max(5, number * SEEDS // FULL)
