"""Routes of images: what the store has, what is to be fetched, sent, loaded, saved and removed."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from orchestrator.agent import clock, image_jobs
from orchestrator.agent.circle import Circle
from orchestrator.agent.image_shelf import Shelf
from orchestrator.agent.watch import done
from orchestrator.api.http import Json, Reply, Request, Stream
from orchestrator.errors import Mistake
from orchestrator.images import lookup
from orchestrator.images.collecting import disk_of
from orchestrator.images.store import Entry

DEEDS = ("pull", "push", "load", "save", "import", "resolve")


def routes(circle: Circle) -> dict[tuple[str, ...], Callable[[Request], Awaitable[Reply]]]:
    """Rows of the table of routes."""
    rows = {
        ("GET", "images"): listing,
        ("GET", "images", "used"): used,
        ("GET", "images", "inspect"): inspect,
        ("GET", "images", "history"): history,
        ("POST", "images", "work"): work,
        ("POST", "images", "tag"): tag,
        ("POST", "images", "remove"): remove,
        ("POST", "images", "prune"): prune,
        ("GET", "system", "df"): usage,
    }
    return {row: functools.partial(route, circle) for row, route in rows.items()}


async def listing(circle: Circle, request: Request) -> Reply:
    filters = [word for word in request.query.get("filter", "").split(",") if word]
    return Json(Shelf(circle).rows(request.flag("all"), filters))


async def used(circle: Circle, request: Request) -> Reply:
    return Json(Shelf(circle).of_containers(request.query.get("stack") or None))


async def inspect(circle: Circle, request: Request) -> Reply:
    return Json(Shelf(circle).inspect(request.query.get("name", "")))


async def history(circle: Circle, request: Request) -> Reply:
    return Json(Shelf(circle).history(request.query.get("name", "")))


async def work(circle: Circle, request: Request) -> Reply:
    """{"deed": …, "images": [{"reference": …, …}], "environment": {…}}: lines as `up` gives them, "done" the last."""
    body = request.json()
    asked = body.get("images")
    if body.get("deed") not in DEEDS or not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise Mistake(f"cannot read the request: 'deed' must be one of {', '.join(DEEDS)}, 'images' a list of objects")
    prepared = [_with_digests(circle, body["deed"], one) for one in asked]
    environment = image_jobs.carried(body.get("environment") or {})
    asked_of_worker = {"deed": body["deed"], "images": prepared, "environment": environment}
    return Stream(lines(image_jobs.work(circle.root, asked_of_worker) if prepared else _nothing()))


def _with_digests(circle: Circle, deed: str, one: dict[str, Any]) -> dict[str, Any]:
    """What is sent or saved is named by its manifest: the name may move while that goes on."""
    if not isinstance(one.get("reference"), str):
        raise Mistake("cannot read the request: each of 'images' must have a 'reference'")
    if deed == "push":
        return {**one, "digest": Shelf(circle).find(str(one.get("image") or one["reference"])).manifest.digest}
    if deed == "save":
        shelf = Shelf(circle)
        found = [(shelf.find(name), name) for name in one.get("images") or ()]
        return {**one, "images": [{"digest": e.manifest.digest, "name": _name_of(e)} for e, _ in found]}
    return one


def _name_of(entry: Entry) -> str:
    return entry.name if not entry.name.startswith(("oci:/", "oci-archive:", "docker-archive:")) else ""


async def lines(messages: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    """What is said, a JSON line each, and at the end how it went."""
    began = clock.now()
    failures = []
    async for message in messages:
        if message["type"] == "image" and message.get("state") == "failed":
            failures.append((message["image"], message["why"]))
        yield _line(message)
    yield _line(done(began, failures))


async def _nothing() -> AsyncIterator[dict[str, Any]]:
    for _ in ():
        yield {}


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


async def tag(circle: Circle, request: Request) -> Reply:
    """{"image": …, "name": …}: another name for it."""
    body = request.json()
    shelf = Shelf(circle)
    entry = shelf.find(str(body.get("image") or ""))
    name = lookup.complete(str(body.get("name") or ""))
    if "@" in name:
        raise Mistake(f"cannot tag: {body.get('name')!r} names a content and not a tag")
    shelf.store.name(Entry(name, entry.manifest, "", clock.wall_ns() / 1e9))
    return Json({"name": name})


async def remove(circle: Circle, request: Request) -> Reply:
    body = request.json()
    names = body.get("images")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Mistake("cannot read the request: 'images' must be a list of names")
    return Json(await asyncio.to_thread(Shelf(circle).remove, names, bool(body.get("force"))))


async def prune(circle: Circle, request: Request) -> Reply:
    body = request.json()
    until = body.get("until")
    return Json(await asyncio.to_thread(Shelf(circle).prune, bool(body.get("all")), until))


async def usage(circle: Circle, request: Request) -> Reply:
    """What everything kept takes on the disk, as `docker system df` counts it."""
    shelf = Shelf(circle)
    images = await asyncio.to_thread(shelf.usage)
    containers = list(circle.containers)
    sizes = await asyncio.to_thread(
        lambda: {record.id: disk_of(circle.root.container(record.id)) for record in containers}
    )
    idle = sum(sizes[record.id] for record in containers if record.phase != "running")
    rows = [
        images,
        {
            "Type": "Containers",
            "TotalCount": len(containers),
            "Active": sum(record.phase == "running" for record in containers),
            "size": sum(sizes.values()),
            "reclaimable": idle,
        },
        await asyncio.to_thread(_volumes, circle),
        await asyncio.to_thread(shelf.build_usage),
    ]
    return Json(rows)


def _volumes(circle: Circle) -> dict[str, Any]:
    from orchestrator.storage import keeping, volumes

    known = volumes.listing(circle.root)
    wanted = {volume.name for wish in circle.wishes.all() for volume in wish.stack.volumes.values()}
    wanted |= {name for name in known if any(name.startswith(f"anonymous_{r.id}_") for r in circle.containers)}
    sizes = {name: keeping.size(circle.root, name) for name in known}
    return {
        "Type": "Local Volumes",
        "TotalCount": len(known),
        "Active": len(known.keys() & wanted),
        "size": sum(sizes.values()),
        "reclaimable": sum(size for name, size in sizes.items() if name not in wanted),
    }
