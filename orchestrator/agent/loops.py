"""Fixes that do not help: what was put right three times within a minute and is wrong again is left alone, and told.

Restarts have a back-off and an end of their own; this is for what has none: limits, files, networks, rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from orchestrator.reconcile.plan import Action, Adjust, MakeNetwork

TIMES = 3
WINDOW = 60.0  # seconds


class Loops:
    """`futile`: subject → the sentence; until somebody asks again (`forgive`)."""

    def __init__(self) -> None:
        self._fixed: dict[str, deque[float]] = {}
        self.futile: dict[str, str] = {}

    def count(self, action: Action, now: float) -> str | None:
        """A deed has been done; what is to be told where it has been done once too often."""
        return self.fixed(action.subject, now) if isinstance(action, Adjust | MakeNetwork) else None

    def fixed(self, subject: str, now: float) -> str | None:
        """The same of what no action puts right."""
        times = self._fixed.setdefault(subject, deque(maxlen=TIMES))
        times.append(now)
        if len(times) < TIMES or now - times[0] > WINDOW or subject in self.futile:
            return None
        seconds = now - times[0]
        why = f"put right {TIMES} times within {seconds:.0f} s and wrong again: left alone until the next 'up'"
        self.futile[subject] = why
        return why

    def forgive(self, subjects: Iterable[str]) -> None:
        for subject in subjects:
            self._fixed.pop(subject, None)
            self.futile.pop(subject, None)
