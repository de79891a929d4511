"""`python -m bench settle`: how many random worlds a second the settle tests play, on all cores."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bench.figures import Table, at_least

GAME = Path(__file__).resolve().parents[1] / "tests" / "settle" / "many.py"
WORLDS = 10_000


def measure(table: Table) -> None:
    """The start of the processes included. RuntimeError where a world went wrong."""
    table.head("settle tests")
    done = subprocess.run([sys.executable, str(GAME), str(WORLDS)], capture_output=True, text=True)
    found = re.search(r"(\d+) a second", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"cannot measure: the game did not end well\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    table.line("random worlds played", at_least(500, "/s"), float(found[1]))
