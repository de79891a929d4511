"""A stack of which only some services are as the file says now, the others as they were."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

from orchestrator.stack.model import Material, Service, Stack


def keeping(stack: Stack, before: Stack, names: Collection[str]) -> Stack:
    """`stack` with these services as `before` has them. They keep what they stand on, too: networks and volumes that
    `stack` does not have, and the contents of configs and secrets that no other service of it uses."""
    kept = {name: old for name, old in before.services.items() if name in names and name in stack.services}
    if not kept:
        return stack
    others = [service for name, service in stack.services.items() if name not in kept]
    networks = {key for old in kept.values() for key in old.networks}
    volumes = {mount.source for old in kept.values() for mount in old.mounts if mount.kind == "volume"}
    return replace(
        stack,
        services={**stack.services, **kept},
        networks={**{key: one for key, one in before.networks.items() if key in networks}, **stack.networks},
        volumes={**{key: one for key, one in before.volumes.items() if key in volumes}, **stack.volumes},
        configs={**stack.configs, **_materials("config", before.configs, kept.values(), others)},
        secrets={**stack.secrets, **_materials("secret", before.secrets, kept.values(), others)},
    )


def _materials(
    kind: Literal["config", "secret"],
    known: Mapping[str, Material],
    kept: Collection[Service],
    others: Collection[Service],
) -> dict[str, Material]:
    """Those of the kept services alone."""
    shared = {grant.source for service in others for grant in service.grants if grant.kind == kind}
    used = {grant.source for service in kept for grant in service.grants if grant.kind == kind}
    return {key: known[key] for key in used - shared if key in known}
