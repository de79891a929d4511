"""`python -m bench settle`: how many random worlds a second the settle tests play, in one process."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from bench.figures import Table, at_least

TESTS = Path(__file__).resolve().parents[1] / "tests" / "settle"
WORLDS = 2000


def measure(table: Table) -> None:
    table.head("settle tests")
    os.environ["PYORCH_SEEDS"] = str(WORLDS)  # test_seeds reads it
    sys.path.insert(0, str(TESTS))
    import test_seeds

    began = time.perf_counter()
    for lot in range(test_seeds.LOTS):
        test_seeds.test_random_worlds_settle_at_what_is_wanted(lot)
    table.line("random worlds played", at_least(500, "/s"), WORLDS / (time.perf_counter() - began))
