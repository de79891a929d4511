"""Maintenance: services that are left alone for a while, whatever happens to them. It ends by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from orchestrator.agent import clock
from orchestrator.agent.circle import Circle
from orchestrator.errors import Missing, Mistake
from orchestrator.reconcile.world import Wanted

ALL = "*"


def suspend(circle: Circle, name: str, services: list[str], seconds: float, reason: str) -> dict[str, Any]:
    """Nothing is started, stopped or put right until then (no services named: in the whole stack)."""
    wish = _known(circle, name, services)
    until = clock.boottime() + seconds
    added = dict.fromkeys(services or [ALL], (until, reason))
    kept = {key: each for key, each in wish.suspended.items() if each[0] > clock.boottime()}
    circle.wishes.put(replace(wish, suspended={**kept, **added}))
    ends = datetime.fromtimestamp(clock.wall_ns() / 1e9 + seconds, UTC).isoformat(timespec="seconds")
    whom = ", ".join(services) or "the whole stack"
    why = f"{whom} until {ends}" + (f": {reason}" if reason else "")
    circle.events.note("suspend", name, why, kind="stack", stack=name)
    return {"stack": name, "services": services, "until": ends, "reason": reason}


def resume(circle: Circle, name: str, services: list[str]) -> dict[str, Any]:
    """Healing goes on; of all that is suspended where no service is named."""
    wish = _known(circle, name, services)
    ended = [key for key in wish.suspended if not services or key in services]
    if services and ALL in wish.suspended:
        raise Mistake(f"cannot resume only {', '.join(services)}: the whole of {name!r} is suspended; resume it all")
    circle.wishes.put(replace(wish, suspended={key: e for key, e in wish.suspended.items() if key not in ended}))
    circle.events.note("resume", name, "asked", kind="stack", stack=name)
    return {"stack": name, "resumed": ended}


def _known(circle: Circle, name: str, services: list[str]) -> Wanted:
    wish = circle.wishes.get(name)
    if wish is None:
        raise Missing(f"cannot find stack {name!r}: it is not up here")
    unknown = [service for service in services if service not in wish.stack.services]
    if unknown:
        raise Mistake(*(f"no such service: {service}" for service in unknown))
    return wish
