"""What a stack from a repository may ask of this machine. Who may push there is not who owns the machine.

Without a word of the owner's: bind mounts only of what lies in the checkout, no powers over the host, no ports below
1024. Pure: a stack in, sentences out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.errors import Mistake
from orchestrator.stack.model import Service, Stack

FIRST_ORDINARY_PORT = 1024


@dataclass(frozen=True, slots=True)
class Allow:
    """`paths`: directories of the host. `ports`: ranges, both ends included; empty: all from 1024."""

    paths: tuple[str, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    privileged: bool = False


def allowed(words: Sequence[str]) -> Allow:
    """`path=/srv/data`, `port=8000-8999`, `privileged`. Raises Mistake."""
    paths, ports, privileged = [], [], False
    for word in words:
        kind, _, value = word.partition("=")
        low, _, high = value.partition("-")
        if kind == "path" and value.startswith("/"):
            paths.append(os.path.normpath(value))
        elif kind == "port" and low.isdigit() and (high or low).isdigit():
            ports.append((int(low), int(high or low)))
        elif word == "privileged":
            privileged = True
        else:
            raise Mistake(f"cannot read --allow {word}: write path=/srv/data, port=8080, port=8000-8999 or privileged")
    return Allow(tuple(paths), tuple(ports), privileged)


def objections(stack: Stack, allow: Allow, tree: str) -> list[str]:
    """A sentence for each thing that goes beyond what is allowed."""
    return [
        f"{stack.name}: service {name} {words}{_place(stack, name)}"
        for name, service in stack.services.items()
        for words in [*_paths(service, allow, tree), *_ports(service, allow), *_powers(service, allow)]
    ]


def _place(stack: Stack, service: str) -> str:
    origin = stack.origin(f"services.{service}")
    return f" ({origin})" if origin else ""


def _paths(service: Service, allow: Allow, tree: str) -> Iterator[str]:
    roots = [os.path.realpath(root) for root in (tree, *allow.paths)]
    named = [mount.source for mount in service.mounts if mount.kind == "bind" and mount.source]
    if service.image.startswith("dir:"):
        named.append(service.image.removeprefix("dir:"))
    for path in named:
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
            yield f"asks for {word}: allow it with --allow privileged"


def asked_powers(service: Service) -> list[str]:
    """Everything in its definition that reaches beyond its own container."""
    return [f"cap_add {capability}" for capability in service.cap_add]
