"""Building the images of services: what is to be built, what its steps are attached to, and who is told.

The work is the image worker's. What only the agent can give is given here: a network with a way out, whose addresses
it leases, and the contents of the stack's secrets. When the last build is over the network goes again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.agent import image_jobs
from orchestrator.agent.circle import Circle
from orchestrator.errors import HostRefused, Missing, Mistake, OrchestratorError
from orchestrator.images import lookup
from orchestrator.images.source import IMAGE
from orchestrator.network import pool
from orchestrator.root import Root
from orchestrator.stack.model import Network, Service, Stack

SLOTS = 4  # steps that run at a time with a network of their own
SERVICE = "service:"  # a named context that is another service's image
NETWORK = Network("build", image_jobs.BUILD_NETWORK)

Messages = AsyncIterator[dict[str, Any]]
_under_way: dict[str, int] = {}  # root directory → builds that are going on


async def build(
    circle: Circle,
    stack: Stack,
    services: Iterable[Service],
    environment: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
) -> Messages:
    """What the worker says, the failures among it. `options`: "no_cache", "pull", "arguments" for all of them."""
    orders = [_order(stack, service, options or {}) for service in _with_bases(stack, services) if service.build]
    if not orders:
        return
    images = [{"reference": order["name"], "order": order} for order in orders]
    key = circle.root.directory
    _under_way[key] = _under_way.get(key, 0) + 1
    try:
        request = {"deed": "build", "images": images, "environment": image_jobs.carried(environment)}

        async def answer(message: dict[str, Any]) -> dict[str, Any]:
            try:
                return {"slots": await _slots(circle)}
            except OrchestratorError as error:
                return {"slots": [], "why": str(error)}

        async for message in image_jobs.work(circle.root, request, answer):
            yield message
    except OrchestratorError as error:
        for one in images:
            yield {"type": "image", "image": one["reference"], "state": "failed", "kind": error.kind, "why": str(error)}
    finally:
        _under_way[key] -= 1
        if not _under_way[key]:
            await asyncio.to_thread(image_jobs.sweep, circle.root)
            if NETWORK.name in circle.wiring.leases:
                await circle.wiring.drop(NETWORK.name)
                circle.bell.ring()


def needed(root: Root, service: Service, always: bool) -> bool:
    """Whether `up` builds it: it is asked to, or says so itself, or there is no such image here yet."""
    if service.build is None:
        return False
    if always or service.pull_policy.kind == "build":
        return True
    try:
        lookup.prepare(service.image, root)
    except Missing:
        return True
    return False


def fetched(stack: Stack, service: Service) -> bool:
    """Whether its image may come from a registry: one that is built here only where a name for it was written, and its
    policy asks."""
    if service.build is None:
        return True
    return service.image != f"{stack.name}-{service.name}" and service.pull_policy.kind in ("always", "every")


def _with_bases(stack: Stack, services: Iterable[Service]) -> list[Service]:
    """The services, each after those whose images it is built from, which are built with it."""
    found: dict[str, Service] = {}

    def add(service: Service, above: tuple[str, ...]) -> None:
        if service.name in above:
            raise Mistake(f"cannot build '{service.name}': it is made from itself, by {' and '.join(above)}")
        for where in service.build.contexts.values() if service.build else ():
            if where.startswith(SERVICE):
                add(stack.services[where.removeprefix(SERVICE)], (*above, service.name))
        found.setdefault(service.name, service)

    for service in services:
        add(service, ())
    return list(found.values())


def _order(stack: Stack, service: Service, options: Mapping[str, Any]) -> dict[str, Any]:
    build = service.build
    assert build is not None
    value = asdict(build)
    contents = {id: _secret(stack, service, key) for id, key in value.pop("secrets").items()}
    bases = {name: where.removeprefix(SERVICE) for name, where in build.contexts.items() if where.startswith(SERVICE)}
    images = {name: f"{IMAGE}{lookup.complete(stack.services[other].image)}" for name, other in bases.items()}
    return {
        **value,
        "contexts": {**build.contexts, **images},
        "after": sorted({*bases.values()}),
        "name": service.name,
        "tags": [lookup.complete(name) for name in (service.image, *build.tags)],
        "arguments": {**build.arguments, **(options.get("arguments") or {})},
        "no_cache": build.no_cache or bool(options.get("no_cache")),
        "pull": build.pull or bool(options.get("pull")),
        "secrets": contents,
    }


def _secret(stack: Stack, service: Service, key: str) -> str:
    content = stack.contents.get(f"secrets.{key}")
    if content is None:
        raise Mistake(f"cannot build '{service.name}': build.secrets names {key!r}, which the stack has not")
    return content.decode("utf-8", "surrogateescape")


async def _slots(circle: Circle) -> list[dict[str, Any]]:
    """Places in the network of builds. Raises Conflict, HostRefused where it cannot be made."""
    wiring = circle.wiring
    wiring.make("", NETWORK)
    lease = wiring.leases[NETWORK.name]
    prefix = lease.subnet.rpartition("/")[2]
    mine = secrets.token_hex(4)
    addresses = [wiring.lease(NETWORK, f"build-{mine}-{number}", None) for number in range(SLOTS)]
    circle.bell.ring()
    await circle.turned(None)  # the packet filter and the name server know it after the next turn
    return [
        {
            "bridge": _index(circle.root.bridge(lease.number)),
            "address": f"{address}/{prefix}",
            "gateway": lease.gateway,
            "mac": pool.mac(address),
            "nameservers": [lease.gateway],
        }
        for address in addresses
    ]


def _index(bridge: str) -> int:
    try:
        with open(f"/sys/class/net/{bridge}/ifindex", encoding="ascii") as file:
            return int(file.read())
    except OSError as error:
        raise HostRefused(f"cannot build: the bridge {bridge} is gone: {error.strerror}") from error
