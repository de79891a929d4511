"""`pyorch why`: symptom → direct cause → root → what changed since it was last well → what happens next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.agent import clock, placements
from orchestrator.agent.cards import changed, last_words
from orchestrator.agent.circle import Circle
from orchestrator.agent.store import Event
from orchestrator.errors import Missing, Mistake
from orchestrator.reconcile.why import explain

HEALTHY, STARTED = ("health_status: healthy",), ("start", "health_status: healthy")
ILL = ("die", "trouble", "gave_up", "drift", "stop", "kill", "health_status: unhealthy", "health_status: unready")
TOLD = 6  # events
STEADY_NS = 10 * 10**9  # what has no check was well only if it ran as long as this


def why(circle: Circle, name: str, service: str) -> dict[str, Any]:
    """Everything that bears on how a service is now."""
    wish = circle.wishes.get(name)
    if wish is None:
        raise Missing(f"cannot find stack {name!r}: it is not up here")
    known = {**wish.orphans, **wish.stack.services}
    if service not in known:
        raise Mistake(f"no such service: {service}; {name!r} has {', '.join(sorted(known))}")
    chain = explain(wish, circle.world, circle.plan, service, clock.now())
    root = chain.root
    record = circle.containers.named(root.subject)
    events = circle.events.past(name)
    good = HEALTHY if root.service in known and known[root.service].checked else STARTED
    newest = next(iter(circle.wishes.history.of(name)), None)
    return {
        "stack": name,
        "service": service,
        "well": chain.links[0].well,
        "chain": [
            {"service": link.service, "subject": link.subject, "state": link.state, "why": link.cause}
            for link in chain.links
        ],
        "root": root.service,
        "probe": _probe(circle, root.subject),
        "log": [] if root.well else last_words(circle, record, 4),
        "last_well": _last_well(events, root.service, good),
        "changed": changed(circle, wish, root.service),
        "revision": wish.revision,
        "cause": newest.cause if newest else "",
        "since": [_told(event) for event in _since_well(events, root.service, good)],
        "next": chain.next,
        "placements": placements.of_service(circle, wish, service),
    }


def _probe(circle: Circle, subject: str) -> str:
    record = circle.containers.named(subject)
    verdict = record.verdict if record is not None else None
    return verdict.last.output.strip() if verdict and verdict.last and verdict.last.code != 0 else ""


def _last_well(events: list[Event], service: str, well_when: tuple[str, ...]) -> str | None:
    """When it was last seen to be well: at its last end, or fall from health, that followed a good stretch."""
    well: str | None = None
    since: int | None = None
    for event in events:
        if event.service == service:
            if event.action in well_when:
                since = event.wall_ns if since is None else since
            elif event.action in ILL and since is not None:
                if well_when is HEALTHY or event.wall_ns - since >= STEADY_NS:
                    well = _moment(event.wall_ns)
                since = None
    return "now" if since is not None else well


def _since_well(events: list[Event], service: str, well: tuple[str, ...]) -> list[Event]:
    """What has happened to it, and to the stack, since then."""
    mine = [event for event in events if event.service == service or event.type == "stack"]
    last = max((n for n, e in enumerate(mine) if e.action in well and e.service == service), default=0)
    return mine[max(last, len(mine) - TOLD) :]


def _told(event: Event) -> dict[str, Any]:
    return {"time": _moment(event.wall_ns), "action": event.action, "subject": event.subject, "why": event.why}


def _moment(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat(timespec="milliseconds")
