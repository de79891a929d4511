"""What a stack from a repository may ask of this machine. Who may push there is not who owns the machine.

Without a word of the owner's: bind mounts only of what lies in the checkout, no powers over the host, no ports below
1024. Pure: a stack in, sentences out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.errors import Mistake
from orchestrator.stack.model import Service, Stack

FIRST_ORDINARY_PORT = 1024
PRIVILEGED = "allow it with --allow privileged"


@dataclass(frozen=True, slots=True)
class Allow:
    """`paths`: directories of the host. `ports`: ranges, both ends included; empty: all from 1024."""

    paths: tuple[str, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    privileged: bool = False
    secrets: tuple[str, ...] = ()  # of those that `pyorch secret` keeps


def allowed(words: Sequence[str]) -> Allow:
    """`path=/srv/data`, `port=8000-8999`, `secret=NAME`, `privileged`. Raises Mistake."""
    paths, ports, secrets, privileged = [], [], [], False
    for word in words:
        kind, _, value = word.partition("=")
        low, _, high = value.partition("-")
        if kind == "path" and value.startswith("/"):
            paths.append(os.path.normpath(value))
        elif kind == "port" and low.isdigit() and (high or low).isdigit():
            ports.append((int(low), int(high or low)))
        elif kind == "secret" and value:
            secrets.append(value)
        elif word == "privileged":
            privileged = True
        else:
            ways = "path=/srv/data, port=8080, port=8000-8999, secret=NAME or privileged"
            raise Mistake(f"cannot read --allow {word}: write {ways}")
    return Allow(tuple(paths), tuple(ports), privileged, tuple(secrets))


def objections(stack: Stack, allow: Allow, tree: str) -> list[str]:
    """A sentence for each thing that goes beyond what is allowed."""
    asked = [
        (f"service {name} {words}", f"services.{name}")
        for name, service in stack.services.items()
        for words in [*_paths(_sources(service), allow, tree), *_ports(service, allow), *_powers(service, allow)]
    ]
    for key, volume in stack.volumes.items():
        devices = [volume.options["device"]] if volume.options.get("device", "").startswith("/") else []
        asked += [(f"volume {key} {words}", f"volumes.{key}") for words in _paths(devices, allow, tree)]
    for thing in (*stack.configs.values(), *stack.secrets.values()):
        place = f"{thing.kind}s.{thing.key}"
        if thing.source == "file":
            asked += [(f"{thing.kind} {thing.key} {words}", place) for words in _paths([thing.where], allow, tree)]
        elif thing.source == "external" and thing.where not in allow.secrets:
            way = f"allow it with --allow secret={thing.where}"
            asked.append((f"{thing.kind} {thing.key} asks for what this machine keeps as {thing.where}: {way}", place))
    if not allow.privileged:
        asked += [(f"x-pyorch.notify runs {word} here: {PRIVILEGED}", "x-pyorch.notify") for word in _programs(stack)]
    return [f"{stack.name}: {words}{_place(stack, path)}" for words, path in asked]


def _place(stack: Stack, path: str) -> str:
    origin = stack.origin(path)
    return f" ({origin})" if origin else ""


def _sources(service: Service) -> list[str]:
    named = [mount.source for mount in service.mounts if mount.kind == "bind" and mount.source]
    return [*named, service.image.removeprefix("dir:")] if service.image.startswith("dir:") else named


def _paths(paths: Iterable[str], allow: Allow, tree: str) -> Iterator[str]:
    """Links count by where they lead: a repository is free to hold one to /etc."""
    roots = [os.path.realpath(root) for root in (tree, *allow.paths)]
    for path in paths:
        real = os.path.realpath(path)
        if not any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots):
            yield f"asks for the host's {path}: allow it with --allow path={real}"


def _ports(service: Service, allow: Allow) -> Iterator[str]:
    for port in service.ports:
        number = port.published
        if number is None:
            continue
        if allow.ports and not any(low <= number <= high for low, high in allow.ports):
            yield f"publishes port {number}: allow it with --allow port={number}"
        elif not allow.ports and number < FIRST_ORDINARY_PORT:
            yield f"publishes port {number}, below {FIRST_ORDINARY_PORT}: allow it with --allow port={number}"


def _powers(service: Service, allow: Allow) -> Iterator[str]:
    if not allow.privileged:
        for word in asked_powers(service):
            yield f"asks for {word}: {PRIVILEGED}"


def asked_powers(service: Service) -> Iterator[str]:
    """Everything in its definition that reaches beyond its own container."""
    walls = service.sandbox
    yield from (f"cap_add {capability}" for capability in service.cap_add)
    yield from (f"device {device.source}" for device in walls.devices)
    yield from (f"volumes_from container:{one.source}" for one in service.volumes_from if one.container)
    found = {
        "privileged": walls.privileged,
        "no-new-privileges:false": walls.new_privileges,
        f"seccomp={walls.seccomp}": walls.seccomp is not None,
        "systempaths=unconfined": walls.unmasked,
        "device_cgroup_rules": walls.device_cgroup_rules,
        f"cgroup_parent {walls.cgroup_parent}": walls.cgroup_parent,
        f"oom_score_adj {walls.oom_score_adj}": (walls.oom_score_adj or 0) < 0,
        f"network_mode {service.network_mode}": _foreign(service.network_mode),
        f"pid {walls.pid}": _foreign(walls.pid),
        f"ipc {walls.ipc}": _foreign(walls.ipc),
        f"uts {walls.uts}": _foreign(walls.uts),
        f"cgroup {walls.cgroup}": _foreign(walls.cgroup),
    }
    yield from (word for word, asked in found.items() if asked)


def _foreign(mode: str | None) -> bool:
    """The host's, or that of a container which may be somebody else's."""
    return mode is not None and (mode == "host" or mode.startswith("container:"))


def _programs(stack: Stack) -> list[str]:
    wishes = (stack.extensions.get("x-pyorch") or {}).get("notify") or ()
    return [str(wish["exec"][0]) for wish in wishes if wish.get("exec")]
