"""One whole process: how long it takes, and how much memory.

The kernel counts for a process what its parent held when it was born (execve(2) keeps ru_maxrss). So a small one of its
own, this file as a program, starts what is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """`resident`: the most that was, in bytes (getrusage(2), ru_maxrss)."""

    seconds: float
    resident: int


def run(*line: str, code: int = 0) -> Run:
    """Raises RuntimeError where it ends otherwise than with `code`."""
    small = [sys.executable, "-S", "-E", __file__, *line]
    said = subprocess.run(small, capture_output=True, text=True, check=True).stdout.split()
    if int(said[0]) != code:
        raise RuntimeError(f"{' '.join(line)} ended with {said[0]}, not {code}")
    return Run(float(said[1]), int(said[2]))


def _main() -> None:
    nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    began = time.perf_counter()
    pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=nowhere)
    _, status, usage = os.wait4(pid, 0)
    print(os.waitstatus_to_exitcode(status), time.perf_counter() - began, usage.ru_maxrss * 1024)


if __name__ == "__main__":
    _main()
