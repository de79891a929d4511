"""The two clocks of the agent. Decisions use the monotonic one: it neither jumps nor stops for an agent's death."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds of CLOCK_MONOTONIC, the same for every process of this boot."""
    return time.monotonic()


def wall_ns() -> int:
    """Nanoseconds since the epoch, for people and for the log."""
    return time.time_ns()


def boot_id() -> str:
    """Identifies this boot of the host (proc(5)): what was noted under another one no longer runs."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
