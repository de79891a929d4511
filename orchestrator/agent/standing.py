"""How a stack stands: what is wanted against what is, service by service. What `pyorch status` shows."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from orchestrator.agent import clock
from orchestrator.agent.circle import Circle
from orchestrator.agent.containers import Record
from orchestrator.agent.state import service_of
from orchestrator.errors import Missing
from orchestrator.health.judge import symptom
from orchestrator.policy.restart import describe
from orchestrator.reconcile import drift
from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.replica import count
from orchestrator.reconcile.world import Wanted
from orchestrator.stack.model import Service


def standing(circle: Circle, name: str) -> dict[str, Any]:
    """`Sync`: "synced", or what is not as the present revision wants it. `Health`: the worst of its services."""
    wish = circle.wishes.get(name)
    if wish is None:
        raise Missing(f"cannot find stack {name!r}: it is not up here")
    rows = [_service(circle, wish, service) for service in sorted(wish.active | set(wish.orphans))]
    files, amiss = circle.drift.touched.get(name, []), _ground(circle, wish)
    newest = next(iter(circle.wishes.history.of(name)), None)
    order = ("failed", "unhealthy", "unready", "starting", "suspended", "stopped", "healthy", "done")
    return {
        "Name": name,
        "Revision": wish.revision,
        "Outcome": newest.outcome if newest else "",
        "Cause": newest.cause if newest else "",
        "Sync": "synced" if all(row["Sync"] == "synced" for row in rows) and not files and not amiss else "out of sync",
        "Health": min((row["Health"] for row in rows), key=order.index, default="healthy"),
        "Files": files,
        "Drift": amiss,
        "Services": rows,
    }


def _service(circle: Circle, wish: Wanted, service: str) -> dict[str, Any]:
    definition = wish.stack.services.get(service) or wish.orphans[service]
    records = [r for r in circle.containers.of(wish.stack.name) if r.service == service and not r.helper]
    running = [r for r in records if r.phase == "running"]
    holds = [h for h in circle.plan.holds if service_of(h.subject, wish) == service]
    wanted = 0 if service in wish.stopped else count(wish, definition)
    digest = blueprint(wish.stack).digests.get(service)
    old = [r for r in running if digest not in (None, r.digest)]
    drift = list(_drift(records, definition))
    sync = "orphan" if service in wish.orphans else f"{len(old)} of {len(running)} old" if old else "synced"
    rest = _rest(wish, service)
    return {
        "Service": service,
        "Wanted": wanted,
        "Running": len(running),
        "Sync": "drifted" if drift and sync == "synced" else sync,
        "Health": "suspended" if rest else _health(circle, wish, service, records, wanted),
        "Drift": drift,
        "Suspended": rest,
        "Holds": [{"subject": hold.subject, "why": hold.why} for hold in holds],
        "Ills": _ills(running, {hold.subject for hold in holds}),
    }


def _ills(running: list[Record], told: Container[str]) -> list[str]:
    """What ails those of which no hold speaks already."""
    sick = ((r.name, r.verdict) for r in running if r.verdict and r.verdict.status in ("unready", "unhealthy"))
    return [f"{name}: {verdict.status}: {symptom(verdict)}" for name, verdict in sick if name not in told]


def _drift(records: list[Record], definition: Service) -> Iterator[str]:
    """Kind, whose, what."""
    for record in records:
        for kind, why in sorted(record.drifted.items()):
            if definition.healing.answer(kind) != "ignore":
                yield f"{kind}: {record.name}: {why}"
        last, answer = record.last_exit, definition.healing.answer("stopped")
        if record.phase == "exited" and last is not None and last.cause == "stopped" and answer != "ignore":
            yield f"stopped: {record.name}: {describe(last)} by somebody else"


def _ground(circle: Circle, wish: Wanted) -> list[str]:
    """The same of what belongs to no one service."""
    mine = {network.name for network in wish.stack.networks.values()}
    found = [("network", f"{name}: {why}") for name, why in sorted(circle.wiring.broken.items()) if name in mine]
    if circle.drift.network.rules and mine:
        found.append(("rules", circle.drift.network.rules))
    return [f"{kind}: {why}" for kind, why in found if drift.of_stack(wish.stack, kind) != "ignore"]


def _rest(wish: Wanted, service: str) -> str:
    for key in (service, "*"):
        until, why = wish.suspended.get(key, (0.0, ""))
        if (left := until - clock.boottime()) > 0:
            return f"for {left:.0f} s more" + (f": {why}" if why else "")
    return ""


def _health(circle: Circle, wish: Wanted, service: str, records: list[Record], wanted: int) -> str:
    holds = [h for h in circle.plan.holds if service_of(h.subject, wish) == service]
    well = [r for r in records if r.answers]
    ended = [r for r in records if r.phase == "exited" and r.last_exit is not None and r.last_exit.good]
    if any(hold.failed for hold in holds):
        return "failed"
    for status in ("unhealthy", "unready"):
        if any(r.verdict is not None and r.verdict.status == status for r in records):
            return status
    if not wanted:
        return "stopped"
    if service in blueprint(wish.stack).jobs and (len(ended) >= wanted or not records):
        return "done" if ended or not holds else "starting"
    return "healthy" if len(well) >= wanted else "done" if len(ended) >= wanted else "starting"
