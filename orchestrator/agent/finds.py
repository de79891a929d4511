"""What was found to have been changed by others. Kinds and answers: see `reconcile.drift`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.agent import clock

if TYPE_CHECKING:
    from orchestrator.agent.circle import Circle

TYPES = {"network": "network", "rules": "network", "files": "stack"}  # of the event; else it is a container's


@dataclass(frozen=True, slots=True)
class Find:
    """`service` "" where it is not one service's, `stack` "" where it is everybody's. `answer`: what is done about it:
    "heal", "report" or "ignore"."""

    kind: str
    stack: str
    service: str
    subject: str
    why: str
    answer: str


def tell(circle: Circle, found: Iterable[Find]) -> None:
    """Note what was found. Most of it the next turn puts right; the rules, which belong to no stack, are so here."""
    for find in found:
        if find.answer != "ignore":
            told, kind = {"kind": find.kind, "answer": find.answer}, TYPES.get(find.kind, "container")
            stack, service = find.stack, find.service
            circle.events.note(
                "drift", find.subject, find.why, kind=kind, stack=stack, service=service, attributes=told
            )
        if find.kind == "rules" and find.answer == "heal" and find.subject not in circle.loops.futile:
            circle.wiring.write_rules_again()
            if once_too_often := circle.loops.fixed(find.subject, clock.now()):
                circle.events.note("gave_up", find.subject, once_too_often, kind="network")
