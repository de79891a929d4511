"""The images of a stack, here before anything of it is changed, and pinned: each service names the manifest it runs.

A tag may move; what a revision has run goes on meaning the same. So `up` asks the registry where the pull policy says
so, and writes into the stack which manifest each image stood for. Healing, scaling and rollback use that, ask nobody,
and fetch by digest what has gone from the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator import images
from orchestrator.agent import clock, image_jobs
from orchestrator.errors import Missing, OrchestratorError, revive
from orchestrator.health.check import Check
from orchestrator.images import lookup, manifest, reference, source
from orchestrator.images.config import Healthcheck
from orchestrator.images.store import Entry, Store
from orchestrator.policy.pull import PullPolicy, due
from orchestrator.root import Root
from orchestrator.stack.model import Service, Stack

Messages = AsyncIterator[dict[str, Any]]


async def bring(
    root: Root,
    services: Iterable[Service],
    environment: Mapping[str, str],
    policy: PullPolicy | None = None,
    locked: Mapping[str, str] | None = None,
) -> Messages:
    """Fetch what is missing or due, side by side; what the worker says, failures among it (state "failed").

    `policy` overrules the services' own (`up --pull`); `locked`: digest by image, instead of what tags say now; then
    an image without one is a failure.
    """
    store = Store(root.images)
    wanted: dict[str, dict[str, Any]] = {}
    for service in services:
        if not service.image or source.is_live(service.image) or service.image in wanted:
            continue
        asked = policy or service.pull_policy
        digest = (locked or {}).get(service.image)
        if locked is not None and digest is None:
            why = f"cannot use image '{service.image}': stack.lock does not say which it is; run 'pyorch lock' again"
            yield _failed(service.image, Missing(why))
            continue
        try:
            entry = find(store, service, digest)
        except OrchestratorError as error:
            yield _failed(service.image, error)
            continue
        files = source.files(service.image) is not None and asked.kind != "never"  # what they hold now is what is meant
        if files or due(asked, _age(root, service, entry, digest), clock.wall_ns() / 1e9):
            wanted[service.image] = {"reference": service.image, "platform": service.platform, "digest": digest}
            if entry is not None and asked.kind == "every":
                wanted[service.image]["spare"] = True  # an old one will do where the registry does not answer
        elif entry is None:
            why = f"cannot use image '{service.image}': it is not here, and pull_policy is '{asked.kind}'"
            yield _failed(service.image, Missing(why))
    if wanted:
        request = {"deed": "pull", "images": list(wanted.values()), "environment": image_jobs.carried(environment)}
        async for message in image_jobs.work(root, request):
            if (
                message.get("state") == "failed"
                and message["image"] in wanted
                and wanted[message["image"]].get("spare")
            ):
                message = {**message, "state": "kept"}
            yield message


def find(store: Store, service: Service, digest: str | None = None) -> Entry | None:
    """What the store has for a service's image, of that digest where one is given. Raises OrchestratorError."""
    entry = lookup.find(store, service.image, _platform(service))
    if digest and entry and digest not in (entry.manifest.digest, entry.repository_digest):
        return None
    return entry


def _age(root: Root, service: Service, entry: Entry | None, digest: str | None) -> float | None:
    """When the image was last fetched; None where it is not here, or not whole: then it is fetched again."""
    if entry is None:
        return None
    try:
        images.prepare(service.image, root, entry.manifest.digest)
    except images.Absent:
        return None
    by_content = bool(digest) or "@" in service.image
    return float("inf") if by_content else entry.pulled  # what is named by its content cannot be out of date


def pinned(root: Root, stack: Stack, before: Stack | None) -> Stack:
    """The stack with the manifest of each image written in, and the checks that images bring along.

    What is not here (a service that was not asked for) keeps what the last revision meant by the same name.
    """
    store = Store(root.images)
    return replace(
        stack,
        services={name: _pinned(root, store, service, before) for name, service in stack.services.items()},
    )


def _pinned(root: Root, store: Store, service: Service, before: Stack | None) -> Service:
    if not service.image or source.is_live(service.image):
        return service
    try:
        entry = find(store, service)
    except OrchestratorError:
        return service
    if entry is None:
        old = before.services.get(service.name) if before else None
        same = old is not None and old.image == service.image
        return replace(service, image_digest=old.image_digest) if old and same else service
    service = replace(service, image_digest=entry.manifest.digest)
    if service.healthcheck is None and not service.healthcheck_disabled:
        try:
            image = images.prepare(service.image, root, entry.manifest.digest)
        except OrchestratorError:
            return service
        service = replace(service, healthcheck=_check(image.healthcheck))
    return service


def _check(of: Healthcheck | None) -> Check | None:
    """The image's own check (HEALTHCHECK): what it does not say is as usual."""
    if of is None or of.test[0] == "NONE" or len(of.test) < 2:
        return None
    usual = Check(())
    return Check(
        of.test,
        of.interval or usual.interval,
        of.timeout or usual.timeout,
        of.retries or usual.retries,
        of.start_period or usual.start_period,
        of.start_interval or usual.start_interval,
    )


async def ready(root: Root, service: Service) -> None:
    """Before a container is made: its image is here, fetched again by its digest where it has gone meanwhile.

    Raises OrchestratorError where it cannot be had.
    """
    if not service.image or source.is_live(service.image):
        return
    try:
        images.prepare(service.image, root, service.image_digest, _platform(service))
        return
    except images.Absent:
        if service.build is not None:
            raise Missing(
                f"cannot use image '{service.image}': it is gone from the store; run 'pyorch build {service.name}'"
            ) from None
        if source.files(service.image) is None and service.pull_policy.kind in ("never", "build"):
            raise
    wanted = {"reference": _by_digest(service), "platform": service.platform}
    request = {"deed": "pull", "images": [wanted], "environment": image_jobs.carried({})}
    async for message in image_jobs.work(root, request):
        if message.get("state") == "failed":
            raise revive(message["kind"], message["why"])


def _by_digest(service: Service) -> str:
    if not service.image_digest or source.files(service.image):
        return service.image
    return str(reference.parse(service.image).at(service.image_digest))


def _platform(service: Service) -> manifest.Platform | None:
    return manifest.platform(service.platform) if service.platform else None


def _failed(image: str, error: OrchestratorError) -> dict[str, Any]:
    return {"type": "image", "image": image, "state": "failed", "kind": error.kind, "why": str(error)}
