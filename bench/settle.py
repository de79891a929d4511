"""`python -m bench settle`: how many random worlds a second the settle tests play, on all cores."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bench.figures import Table, at_least

TESTS = Path(__file__).resolve().parents[1] / "tests" / "settle"
WORLDS = 10_000


def measure(table: Table) -> None:
    table.head("settle tests")
    sys.path.insert(0, str(TESTS))  # its modules stand beside each other there, as pytest finds them
    import many

    began = time.perf_counter()
    wrong = many.play(range(WORLDS))
    table.line("random worlds played", at_least(500, "/s"), WORLDS / (time.perf_counter() - began))
    if wrong:
        raise RuntimeError(f"{len(wrong)} worlds went wrong:\n{wrong[0]}")
