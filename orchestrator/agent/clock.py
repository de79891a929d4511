"""The clocks of the agent. Decisions use the monotonic one: it does not jump, goes on over an agent's death, and stands
still while the machine sleeps, so that no deadline passes in its sleep. What a person was promised an end of goes on
meanwhile: that is boottime. The wall clock is for people."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds of CLOCK_MONOTONIC, the same for every process of this boot."""
    return time.monotonic()


def boottime() -> float:
    """Seconds of CLOCK_BOOTTIME: as `now`, and those that the machine slept (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def slept() -> float:
    """Seconds that the machine has slept since it was booted, to the hundredth."""
    return round(boottime() - now(), 2)


def wall_ns() -> int:
    """Nanoseconds since the epoch, for people and for the log."""
    return time.time_ns()


def boot_id() -> str:
    """Identifies this boot of the host (proc(5)): what was noted under another one no longer runs."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
