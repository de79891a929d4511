"""Holds that somebody should hear of are told as events, once each: given up, or held back from coming back."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.agent.containers import Containers
from orchestrator.agent.events import Events
from orchestrator.reconcile.plan import Hold


class Telling:
    """What was told already. A new agent tells nothing of what it finds: its predecessor did."""

    def __init__(self, containers: Containers, events: Events) -> None:
        self._containers = containers
        self._events = events
        self._told: dict[str, tuple[bool, str]] | None = None

    def tell(self, holds: Sequence[Hold]) -> None:
        """Of the present turn."""
        present = {hold.subject: (hold.failed, hold.why.partition("(")[0]) for hold in holds}
        for hold in holds if self._told is not None else ():
            if self._told and self._told.get(hold.subject) == present[hold.subject]:
                continue
            record = self._containers.named(hold.subject)
            if record is None:
                continue
            if hold.failed and record.phase == "exited":
                self._note("gave_up", record.name, hold.why, record.stack, record.service)
            elif record.phase == "exited" and hold.until is None and hold.outlook != "asked":
                self._note("held", record.name, hold.why, record.stack, record.service)
        self._told = present

    def _note(self, action: str, subject: str, why: str, stack: str, service: str) -> None:
        self._events.note(action, subject, why, stack=stack, service=service)
