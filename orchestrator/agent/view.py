"""Containers as people and scripts see them: the fields of `docker compose ps --format json`, and the reason."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.agent import clock
from orchestrator.agent.circle import Circle
from orchestrator.agent.containers import Record
from orchestrator.agent.state import service_of, state_of
from orchestrator.reconcile.plan import Hold


def rows(circle: Circle, stack: str | None, every: bool, services: list[str]) -> list[dict[str, Any]]:
    """One row a container, and one for each replica that is held back before it was ever made.

    Without `every`, ended containers are left out as docker compose does, unless something keeps them from running
    that is not as wanted: then the row says why.
    """
    holds = {hold.subject: hold for hold in circle.plan.holds}
    found = []
    for record in circle.containers:
        if record.helper or (record.one_off and not every):  # as docker compose does
            continue
        if (stack is None or record.stack == stack) and (not services or record.service in services):
            hold = holds.pop(record.name, None)
            if every or record.phase == "running" or hold is not None:
                found.append(row(circle, record, hold))
    for wish in circle.wishes.all():
        if stack is None or wish.stack.name == stack:
            for subject, hold in holds.items():
                service = service_of(subject, wish)
                unmade = service in wish.stack.services and circle.containers.named(subject) is None
                if service is not None and unmade and (not services or service in services):
                    found.append(_held_row(wish.stack.name, service, wish.stack.services[service].image, hold))
    return sorted(found, key=lambda r: (r["Project"], r["Service"], r["Name"]))


def row(circle: Circle, record: Record, hold: Hold | None) -> dict[str, Any]:
    """One container; `State` as Docker names them: created, running, restarting, exited."""
    state, health = state_of(record)
    if hold is not None and hold.until is not None and record.phase == "exited":
        state = "restarting"
    last = record.last_exit
    code = 0 if last is None or record.phase == "running" else (last.code if last.code is not None else -1)
    publishers = _publishers(circle, record)
    created = datetime.fromtimestamp(record.created_wall, UTC)
    return {
        "ID": record.id,
        "Name": record.name,
        "Names": record.name,
        "Image": record.image,
        "Command": f'"{record.command}"',
        "Project": record.stack,
        "Service": record.service,
        "State": state,
        "Status": _status(record, state, health),
        "Health": health,
        "ExitCode": code,
        "Publishers": publishers,
        "Ports": ", ".join(_port_text(p) for p in publishers),
        "CreatedAt": created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC"),
        "RunningFor": f"{ago(clock.wall_ns() / 1e9 - record.created_wall)} ago",
        "Labels": ",".join(f"{key}={value}" for key, value in record.definition.labels.items()),
        "LocalVolumes": str(sum(mount.kind == "volume" for mount in record.definition.mounts)),
        "Mounts": ",".join(mount.source or mount.target for mount in record.definition.mounts),
        "Networks": ",".join(record.addresses),
        "Addresses": dict(record.addresses),
        "Size": "0B",
        "Restarts": max(record.runs - 1, 0),
        "Pid": record.pid or 0,
        "Tty": record.definition.sandbox.tty,
        "Revision": record.revision,
        "Reason": hold.why
        if hold is not None
        else _own_reason(record) or (circle.wiring_trouble if publishers else ""),
    }


def _own_reason(record: Record) -> str:
    verdict = record.verdict
    if verdict is not None and verdict.status != "healthy":
        if verdict.last is None:
            return "its first check has not answered yet"
        said = verdict.last.output.strip().splitlines()
        code = "no answer in time" if verdict.last.code is None else f"exit code {verdict.last.code}"
        return f"check failed ({code}){': ' + said[-1] if said else ''}"
    last = record.last_exit
    if record.phase == "exited" and last is not None and last.cause == "oom":
        return "out of memory: killed at its limit"
    return ""


def _held_row(stack: str, service: str, image: str, hold: Hold) -> dict[str, Any]:
    return {
        "ID": "",
        "Name": hold.subject,
        "Names": hold.subject,
        "Image": image,
        "Command": "",
        "Project": stack,
        "Service": service,
        "State": "created",
        "Status": "Held",
        "Health": "",
        "ExitCode": 0,
        "Publishers": [],
        "Ports": "",
        "CreatedAt": "",
        "RunningFor": "",
        "Labels": "",
        "LocalVolumes": "0",
        "Mounts": "",
        "Networks": "",
        "Addresses": {},
        "Size": "0B",
        "Restarts": 0,
        "Pid": 0,
        "Revision": 0,
        "Reason": hold.why,
    }


def _publishers(circle: Circle, record: Record) -> list[dict[str, Any]]:
    wish = circle.wishes.get(record.stack)
    service = wish.stack.services.get(record.service) if wish is not None else None
    if record.one_off:
        service = record.definition
    return [
        {"URL": port.host_ip, "TargetPort": port.target, "PublishedPort": host_port, "Protocol": port.protocol}
        for port, host_port in (circle.wiring.ports.published(record.stack, service) if service is not None else ())
    ]


def _port_text(publisher: Mapping[str, Any]) -> str:
    return "{URL}:{PublishedPort}->{TargetPort}/{Protocol}".format(**publisher)


def _status(record: Record, state: str, health: str) -> str:
    if record.phase == "running":
        up = f"Up {ago(clock.now() - (record.started or clock.now()))}"
        if record.paused:
            return f"{up} (Paused)"
        return f"{up} ({'health: starting' if health == 'starting' else health})" if health else up
    last = record.last_exit
    if last is None:
        return "Created"
    word = "Restarting" if state == "restarting" else "Exited"
    return f"{word} ({'unknown' if last.code is None else last.code}) {ago(clock.now() - last.at)} ago"


def ago(seconds: float) -> str:
    """A span as Docker writes it: "Less than a second", "5 seconds", "About a minute", "3 hours"."""
    if seconds < 1:
        return "Less than a second"
    for size, name in ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count != 1 else ''}"
    raise AssertionError("every span is a second or less")
