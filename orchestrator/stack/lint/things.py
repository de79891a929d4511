"""Volumes, networks, configs, secrets and files that are written and not used, or used and not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.stack.lint.finding import Finding, Subject


def unused_volume(subject: Subject) -> Iterator[Finding]:
    """A volume that no service names, whatever its profile."""
    yield from _unused(subject, "volumes", _volumes)


def unused_network(subject: Subject) -> Iterator[Finding]:
    """A network that no service names, whatever its profile."""
    yield from _unused(subject, "networks", lambda service: _names(service.get("networks")))


def unused_config(subject: Subject) -> Iterator[Finding]:
    """A config that no service names, whatever its profile."""
    yield from _unused(subject, "configs", lambda service: _names(service.get("configs")))


def unused_secret(subject: Subject) -> Iterator[Finding]:
    """A secret that no service names, whatever its profile."""
    yield from _unused(subject, "secrets", _secrets)


def _unused(subject: Subject, kind: str, used_by: Any) -> Iterator[Finding]:
    used = {name for service in (*subject.services.values(), *subject.disabled.values()) for name in used_by(service)}
    for name in subject.tree.get(kind) or ():
        path = (kind, name)
        if name not in used and name != "default" and path in subject.marks:
            yield Finding(path, "no service uses it", "remove it, or name it in a service", key=True)


def _volumes(service: Mapping[str, Any]) -> Iterator[str]:
    for mount in service.get("volumes") or ():
        if isinstance(mount, Mapping) and mount.get("type") == "volume":
            yield str(mount.get("source"))


def _secrets(service: Mapping[str, Any]) -> Iterator[str]:
    yield from _names(service.get("secrets"))
    build = service.get("build")
    if isinstance(build, Mapping):
        yield from _names(build.get("secrets"))


def _names(value: Any) -> Iterator[str]:
    for item in value or ():
        yield str(item.get("source")) if isinstance(item, Mapping) else str(item)


def missing_bind(subject: Subject) -> Iterator[Finding]:
    """A bind mount of nothing."""
    for name, service in subject.services.items():
        for index, mount in enumerate(service.get("volumes") or ()):
            if not isinstance(mount, Mapping) or mount.get("type") != "bind":
                continue
            source = str(mount.get("source") or "")
            if source.startswith("/") and not subject.exists(source):
                yield Finding(
                    ("services", name, "volumes", index),
                    f"{source} does not exist on this machine",
                    "make it, or correct it",
                )
