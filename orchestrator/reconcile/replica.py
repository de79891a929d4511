"""One replica of a service: its slot, its name, and the digest of its meaning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from orchestrator.stack.model import Logging, Mount, Service, Stack

if TYPE_CHECKING:
    from orchestrator.reconcile.world import Wanted


@dataclass(frozen=True, slots=True)
class Replica:
    """`meaning`: flattened key path → JSON text of everything that a running container was made from.

    Left out, because the agent obeys them on the living container: depends_on, replicas, restart, healthcheck,
    stop_signal, stop_grace_period, pull_policy, ports (published by the agent), labels, extensions, limits and
    reservations (the control group is rewritten live).
    """

    stack: str
    service: str
    slot: int
    name: str
    digest: str
    meaning: Mapping[str, str]
    definition: Service


# As they are where the file says nothing of them: most services share these very objects.
_SILENT = {one.name: one.default for one in fields(Service) if one.name in ("lookup", "sandbox")}
_TEXT = json.JSONEncoder(sort_keys=True).encode
WHOLE = (
    *("command", "entrypoint", "working_dir", "user", "hostname", "init", "read_only", "cap_add", "cap_drop"),
    *("container_name", "platform", "annotations", "network_mode"),
)


def meaning(service: Service, stack: Stack) -> dict[str, str]:
    """What a container of `service` is made from: key path below the service → JSON text. See `Replica`."""
    return {path: _TEXT(value) for path, value in _parts(service, stack)}


def _parts(service: Service, stack: Stack) -> Iterator[tuple[str, Any]]:
    """Only what is set: a field that a later version adds does not change the digest of who does not use it."""
    yield "image", service.image
    if service.image_digest:
        yield "image.digest", service.image_digest
    for key in WHOLE:
        value = getattr(service, key)
        if value not in (None, False, {}) and (value != () or key in ("command", "entrypoint")):
            yield key, value
    for key, text in service.environment.items():
        yield f"environment.{key}", text
    for key, attachment in service.networks.items():
        network = stack.networks.get(key)
        yield f"networks.{key}", {"name": network.name if network else key, **_set_fields(attachment)}
    for mount in service.mounts:
        yield f"{'tmpfs' if mount.kind == 'tmpfs' else 'volumes'}.{mount.target}", _set_fields(_named(mount, stack))
    if service.pre_start:
        yield "pre_start", [_set_fields(hook) for hook in service.pre_start]
    if service.volumes_from:
        yield "volumes_from", [_set_fields(words) for words in service.volumes_from]
    if service.reservations.devices:
        lent = {"count": service.reservations.devices, "ids": service.placement.device_ids}
        yield "deploy.resources.reservations.devices", lent
    if service.placement.runtime:
        yield "runtime", service.placement.runtime
    yield from _granted(service, stack)
    for key, usual in _SILENT.items():
        if (part := getattr(service, key)) is not usual:
            yield from _set_fields(part).items()
    if service.logging != Logging():
        yield "logging", asdict(service.logging)


def _granted(service: Service, stack: Stack) -> Iterator[tuple[str, Any]]:
    """Configs and secrets: where they are and whose, and what they say, as a digest."""
    for kind, known in (("config", stack.configs), ("secret", stack.secrets)):
        granted = [grant for grant in service.grants if grant.kind == kind]
        for source in dict.fromkeys(grant.source for grant in granted):
            yield f"{kind}s.{source}", [asdict(grant) for grant in granted if grant.source == source]
            if source in known and not renewable(service, kind, source):
                yield f"{kind}s.{source}.content", known[source].digest


def renewable(service: Service, kind: str, source: str) -> bool:
    """Its content can be written into a living container. (A program that runs cannot be written to.)"""
    granted = [grant for grant in service.grants if (grant.kind, grant.source) == (kind, source)]
    return service.on_change.to(kind) != "recreate" and not any(grant.mode & 0o111 for grant in granted)


def contents(service: Service, stack: Stack) -> dict[str, str]:
    """What configs and secrets say, as digests, by "config.KEY": of those whose change needs no new container."""
    found = {}
    for grant in service.grants:
        thing = (stack.configs if grant.kind == "config" else stack.secrets).get(grant.source)
        if thing is not None and renewable(service, grant.kind, grant.source):
            found[f"{grant.kind}.{grant.source}"] = thing.digest
    return found


def _named(mount: Mount, stack: Stack) -> Mount:
    """A volume by the name the host knows: another volume under the same key is a change."""
    if mount.kind == "volume" and mount.source and mount.source in stack.volumes:
        return replace(mount, source=stack.volumes[mount.source].name)
    return mount


def _set_fields(value: Any) -> dict[str, Any]:
    """Those fields of a dataclass that are not as they are where the file is silent."""
    return {
        name: _plain(part)
        for name, usual in _usual(value.__class__)
        if (part := getattr(value, name)) != usual and part not in (None, False, (), 0, {})
    }


@cache
def _usual(kind: type) -> tuple[tuple[str, Any], ...]:
    """The fields of a dataclass and their defaults."""
    return tuple((field.name, field.default) for field in fields(kind))


def _plain(part: Any) -> Any:
    """As JSON can say it."""
    if isinstance(part, tuple):
        return [_plain(one) for one in part]
    return asdict(part) if is_dataclass(part) and not isinstance(part, type) else part


def digest(meaning: Mapping[str, str]) -> str:
    """12 hex digits that differ when the meaning does."""
    return hashlib.sha256(json.dumps(sorted(meaning.items())).encode()).hexdigest()[:12]


def changes(old: Mapping[str, str], new: Mapping[str, str], stack: Stack, service: str) -> tuple[str, ...]:
    """Each difference in words: "environment.URL changed (stack.yaml:14)". Values stay out: they may be secret."""
    said = []
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) == new.get(path):
            continue
        parent = path.removesuffix(".content")
        if parent != path and (parent in old) != (parent in new):
            continue  # that it came or went says enough
        deed = "added" if path not in old else "removed" if path not in new else "changed"
        said.append(f"{_thing(path)} {deed}{_place(stack, service, path)}")
    return tuple(dict.fromkeys(said))


def _thing(path: str) -> str:
    """ "secrets.db_password.content" is for people "secret db_password"; all else is the key path itself."""
    kind, _, rest = path.partition(".")
    return f"{kind[:-1]} {rest.removesuffix('.content')}" if kind in ("configs", "secrets") else path


def _place(stack: Stack, service: str, path: str) -> str:
    content = path.startswith(("configs.", "secrets.")) and path.endswith(".content")
    origin = stack.origin(path.removesuffix(".content") if content else f"services.{service}.{path}")
    return f" ({origin})" if origin else ""


def named(stack: str, service: Service, slot: int) -> str:
    """Compose's name of a container; `container_name` is that of the first, others (`--scale`) have the usual one."""
    return service.container_name if service.container_name and slot == 1 else f"{stack}-{service.name}-{slot}"


def count(wanted: Wanted, service: Service) -> int:
    """How many replicas are wanted: `--scale` before the file."""
    return wanted.scale.get(service.name, service.replicas)


def replicas(wanted: Wanted, service: Service) -> tuple[Replica, ...]:
    """The replicas of a service in slots 1 … n, as they are where nothing runs yet."""
    made = meaning(service, wanted.stack)
    code, stack = digest(made), wanted.stack.name
    return tuple(
        Replica(stack, service.name, slot, named(stack, service, slot), code, made, service)
        for slot in range(1, count(wanted, service) + 1)
    )
