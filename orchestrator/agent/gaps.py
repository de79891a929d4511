"""Times in which nothing here ran: the machine slept, its virtual machine was paused, or this process was stopped.

Afterwards everything is late at once: probes that were under way have had no answer, networks come back one by one,
every process wants its turn. What fails then says nothing of the services, and must not restart them all.
"""

from __future__ import annotations

TICK = 0.5  # seconds within which somebody looks
STALL = 5.0  # a look that comes so much later than that was held up by more than a busy machine
GRACE = 15.0  # seconds after a gap in which failed probes do not count


class Gaps:
    """Told the time again and again; times are CLOCK_MONOTONIC, `slept` what the machine has slept so far."""

    def __init__(self, now: float, slept: float) -> None:
        self._looked, self._slept = now, slept
        self._over: float | None = None  # when the latest gap was over

    def look(self, now: float, slept: float) -> str | None:
        """What the time since the last look was lost to, where it was lost."""
        asleep, stalled = slept - self._slept, now - self._looked - TICK
        self._looked, self._slept = now, slept
        if asleep < 1 and stalled < STALL:
            return None
        self._over = now
        why = f"the machine slept for {asleep:.0f} s" if asleep >= 1 else f"nothing ran here for {stalled:.0f} s"
        return f"{why}: checks that fail within the next {GRACE:g} s do not count"

    def excuse(self, now: float) -> bool:
        """A failure at this time may be due to a gap."""
        return self._over is not None and now - self._over < GRACE
