"""Routes of what is kept: secrets by name."""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from orchestrator.agent.circle import Circle
from orchestrator.api.http import Json, Reply, Request
from orchestrator.errors import Conflict, Mistake
from orchestrator.storage import materials


def routes(circle: Circle) -> dict[tuple[str, ...], Callable[[Request], Awaitable[Reply]]]:
    """Rows of the table of routes."""
    rows = {
        ("GET", "secrets"): secrets,
        ("POST", "secrets"): create_secret,
        ("DELETE", "secrets", "*"): remove_secret,
    }
    return {row: functools.partial(route, circle) for row, route in rows.items()}


async def secrets(circle: Circle, request: Request) -> Reply:
    users = _users(circle)
    rows = [
        {"Name": name, "CreatedAt": _moment(made), "Stacks": users.get(name, [])}
        for name, made in materials.listing(circle.root)
    ]
    return Json(rows)


async def create_secret(circle: Circle, request: Request) -> Reply:
    body = request.json()
    name, content = body.get("name"), body.get("content")
    if not isinstance(name, str) or not isinstance(content, str):
        raise Mistake("cannot read the request: 'name' and 'content' (in Base64) must be texts")
    try:
        materials.create(circle.root, name, base64.b64decode(content, validate=True))
    except binascii.Error as error:
        raise Mistake(f"cannot read the request: 'content' is not Base64: {error}") from error
    return Json({"Name": name})


async def remove_secret(circle: Circle, request: Request) -> Reply:
    name = request.words[0]
    if stacks := _users(circle).get(name):
        raise Conflict(f"cannot remove secret '{name}': stack {', '.join(stacks)} uses it; take it down first")
    materials.remove(circle.root, name)
    return Json({"Name": name})


def _users(circle: Circle) -> dict[str, list[str]]:
    """Name of an external config or secret → the stacks that are made with it."""
    found: dict[str, list[str]] = {}
    for wish in circle.wishes.all():
        for thing in (*wish.stack.configs.values(), *wish.stack.secrets.values()):
            if thing.source == "external" and wish.stack.name not in found.setdefault(thing.where, []):
                found[thing.where].append(wish.stack.name)
    return found


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
