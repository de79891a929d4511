"""Routes of volumes: docker's fields where docker has them, and who uses what."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from orchestrator.agent.circle import Circle
from orchestrator.api.http import Json, Reply, Request
from orchestrator.errors import Conflict, Missing, Mistake
from orchestrator.storage import keeping, volumes
from orchestrator.storage import mounts as storage_mounts


def routes(circle: Circle) -> dict[tuple[str, ...], Callable[[Request], Awaitable[Reply]]]:
    """Rows of the table of routes."""
    rows = {
        ("GET", "volumes"): listing,
        ("POST", "volumes"): create,
        ("POST", "volumes", "prune"): prune,
        ("DELETE", "volumes", "*"): remove,
        ("POST", "volumes", "*", "backup"): backup,
        ("POST", "volumes", "*", "restore"): restore,
    }
    return {row: functools.partial(route, circle) for row, route in rows.items()}


async def listing(circle: Circle, request: Request) -> Reply:
    """All, or those named (`names`); with `sizes`, what each takes of the disk (seconds for large ones)."""
    names, known = request.names("names"), volumes.listing(circle.root)
    for name in names:
        if name not in known:
            raise Missing(f"no such volume: {name}")
    users = _users(circle)
    rows = [_row(circle, name, meta, users.get(name, [])) for name, meta in known.items() if not names or name in names]
    if request.flag("sizes"):
        for row in rows:
            row["UsageData"] = {
                "RefCount": len(row["Users"]),
                "Size": await asyncio.to_thread(keeping.size, circle.root, row["Name"]),
            }
    return Json(rows)


def _row(circle: Circle, name: str, meta: dict[str, Any], users: list[dict[str, str]]) -> dict[str, Any]:
    made = datetime.fromtimestamp(volumes.made_at(circle.root, name), UTC)
    return {
        "CreatedAt": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Driver": "local",
        "Labels": meta.get("labels") or None,
        "Mountpoint": volumes.path(circle.root, name),
        "Name": name,
        "Options": meta.get("options") or None,
        "Scope": "local",
        "Protected": _protected(circle, name, meta),
        "Users": users,
    }


def _users(circle: Circle) -> dict[str, list[dict[str, str]]]:
    """Volume → the containers that have it mounted."""
    found = {}
    for name, containers in storage_mounts.users(circle.root, [record.id for record in circle.containers]).items():
        records = [record for id in containers if (record := circle.containers.get(id)) is not None]
        found[name] = [
            {"Name": r.name, "Stack": r.stack, "Service": r.service, "State": r.phase, "ID": r.id} for r in records
        ]
    return found


def _protected(circle: Circle, name: str, meta: dict[str, Any]) -> bool:
    """As a stack that is up has it, else as it was made."""
    written = [v.protect for wish in circle.wishes.all() for v in wish.stack.volumes.values() if v.name == name]
    return any(written) if written else bool(meta.get("protect"))


async def create(circle: Circle, request: Request) -> Reply:
    """`from`: the volume whose content the new one begins with."""
    body = request.json()
    name = body.get("name") or os.urandom(32).hex()
    labels, options, origin = body.get("labels") or {}, body.get("options") or {}, body.get("from")
    if not body.get("name"):
        labels = {volumes.ANONYMOUS: "", **labels}
    if origin is not None:
        await asyncio.to_thread(keeping.clone, circle.root, origin, name, labels)
    else:
        volumes.make(circle.root, name, labels, options)
    circle.events.note("create", name, f"clone of {origin}" if origin else "asked", kind="volume")
    circle.bell.ring()
    return Json({"Name": name})


async def remove(circle: Circle, request: Request) -> Reply:
    name, force = request.words[0], request.flag("force")
    meta = volumes.listing(circle.root).get(name)
    if meta is None:
        if force:
            return Json({"Name": name})
        raise Missing(f"no such volume: {name}")
    if users := _users(circle).get(name):
        raise Conflict(f"cannot remove volume '{name}': {_named(users)} it")
    if _protected(circle, name, meta) and not force:
        raise Conflict(f"cannot remove volume '{name}': it is protected; --force removes it and what it holds")
    await asyncio.to_thread(volumes.drop, circle.root, name)
    circle.events.note("destroy", name, "asked", kind="volume")
    circle.bell.ring()
    return Json({"Name": name})


def _named(users: list[dict[str, str]]) -> str:
    return f"{', '.join(user['Name'] for user in users)} {'uses' if len(users) == 1 else 'use'}"


async def prune(circle: Circle, request: Request) -> Reply:
    """Volumes that no container and no stack uses; only anonymous ones unless `all`. Never protected ones."""
    every = bool(request.json().get("all"))
    used = {*_users(circle), *(v.name for wish in circle.wishes.all() for v in wish.stack.volumes.values())}
    used |= {name for wish in circle.wishes.all() for name in _anonymous(wish.stack.name, circle)}
    gone, reclaimed = [], 0
    for name, meta in volumes.listing(circle.root).items():
        anonymous = volumes.ANONYMOUS in meta.get("labels", {})
        if name not in used and (anonymous or every) and not _protected(circle, name, meta):
            reclaimed += await asyncio.to_thread(keeping.size, circle.root, name)
            await asyncio.to_thread(volumes.drop, circle.root, name)
            circle.events.note("destroy", name, "pruned", kind="volume")
            gone.append(name)
    return Json({"VolumesDeleted": gone, "SpaceReclaimed": reclaimed})


def _anonymous(stack: str, circle: Circle) -> list[str]:
    """Names of the anonymous volumes that wait for the containers of a stack that is up."""
    wish = circle.wishes.get(stack)
    return [
        volumes.anonymous(stack, service.name, slot, mount.target)
        for service in (wish.stack.services.values() if wish else ())
        for slot in range(1, max(service.replicas, wish.scale.get(service.name, 0) if wish else 0) + 1)
        for mount in service.mounts
        if mount.kind == "volume" and mount.source is None
    ]


async def backup(circle: Circle, request: Request) -> Reply:
    name, path = request.words[0], _path(request)
    size = await asyncio.to_thread(keeping.backup, circle.root, name, path)
    circle.events.note("backup", name, f"into {path}", kind="volume")
    return Json({"Name": name, "Path": path, "Size": size})


async def restore(circle: Circle, request: Request) -> Reply:
    name, path = request.words[0], _path(request)
    running = [user for user in _users(circle).get(name, []) if user["State"] == "running"]
    if running:
        raise Conflict(f"cannot restore volume '{name}': {_named(running)} it; stop them first, or use --stop")
    force = bool(request.json().get("force"))
    await asyncio.to_thread(keeping.restore, circle.root, name, path, force=force)
    circle.events.note("restore", name, f"from {path}", kind="volume")
    circle.bell.ring()
    return Json({"Name": name, "Path": path})


def _path(request: Request) -> str:
    path = request.json().get("path")
    if not isinstance(path, str) or not os.path.isabs(path):
        raise Mistake("cannot read the request: 'path' must be an absolute path")
    return path
