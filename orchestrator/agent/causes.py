"""Which event brought another one about: every automatic deed names the number of its cause.

A deed follows what happened last to the same subject, or what its reason speaks of (a dependency, a network), or what
the user last asked of the stack. What comes from outside (the end of a process, a check's answer, an `up`) has none;
an apply that a source or a changed file brought about names that event itself (`Events.note`, `because`).
"""

from __future__ import annotations

import re

ASKED = ("apply", "down", "stop", "start", "restart", "promote", "suspend", "resume")  # of a stack
# deed → what happened to the same subject before it
BEFORE = {
    "start": ("die", "drift", "destroy", "trouble", "create"),
    "stop": ("health_status: unhealthy", "drift"),
    "kill": ("stop",),
    "die": ("stop", "kill"),
    "destroy": ("die", "stop"),
    "create": ("drift",),
    "adjust": ("drift",),
    "gave_up": ("adjust", "die", "drift", "trouble"),
}
OUTSIDE = ("drift", "trouble")


class Causes:
    """The latest events: number and action, by subject and by service; and what was last asked of each stack."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[int, str]] = {}
        self._services: dict[tuple[str, str], int] = {}
        self._asked: dict[str, int] = {}

    def of(self, action: str, kind: str, stack: str, subject: str, why: str) -> int:
        """The number of the event that brought this one about; 0: it came from outside."""
        if action in OUTSIDE or action.startswith("health_status") or (kind == "stack" and action in ASKED):
            return 0
        before = self._latest.get(subject)
        if before is not None and before[1] in BEFORE.get(action, ()):
            return before[0]
        if action == "die":
            return 0
        for word in re.findall(r"[\w.-]+", why):
            if number := self._services.get((stack, word)):
                return number
        return self._asked.get(stack, 0)

    def latest(self, stack: str, service: str) -> int:
        return self._services.get((stack, service), 0)

    def note(self, number: int, action: str, kind: str, stack: str, service: str, subject: str) -> None:
        if not number:
            return
        if kind == "stack":
            self._asked[stack] = number
            return
        self._latest[subject] = (number, action)
        if service:
            self._services[stack, service] = number
