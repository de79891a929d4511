"""How a stack was at some moment, put together from what its events tell. Events are bounded: before the first one
that is kept, nothing is known."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from orchestrator.agent.store import Event


def state_at(events: Iterable[Event], moment_ns: int) -> dict[str, Any]:
    """`events` of one stack, oldest first. Rows as `ps` would have shown them, the revision, since when one knows."""
    rows: dict[str, dict[str, Any]] = {}
    told: dict[str, Any] = {"revision": None, "known_since": None}
    for event in events:
        if event.wall_ns > moment_ns:
            break
        told["known_since"] = told["known_since"] or _moment(event.wall_ns)
        if event.type == "stack":
            if event.action == "apply":
                told["revision"] = event.why.partition(":")[0]
            continue
        if event.type != "container":
            continue
        row = rows.setdefault(
            event.subject, {"name": event.subject, "service": event.service, "state": "", "health": ""}
        )
        _follow(row, event)
        if event.action == "destroy":
            del rows[event.subject]
    return {**told, "at": _moment(moment_ns), "containers": sorted(rows.values(), key=lambda row: str(row["name"]))}


def _follow(row: dict[str, Any], event: Event) -> None:
    row["service"] = event.service or row["service"]
    match event.action:
        case "start":
            row.update(state="running", health="", why=event.why, since=_moment(event.wall_ns))
        case "die":
            row.update(state="exited", health="", why=event.why, since=_moment(event.wall_ns))
        case action if action.startswith("health_status: "):
            row.update(health=action.removeprefix("health_status: "))
            if event.why:
                row["why"] = event.why
        case "stop" | "kill" | "trouble" | "drift" | "adjust" | "reload":
            row["why"] = f"{event.action}: {event.why}"


def _moment(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat(timespec="milliseconds")
