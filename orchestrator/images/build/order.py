"""What is to be built, as it is asked for; and the texts it names, read: the Dockerfile and its .dockerignore."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.errors import Mistake
from orchestrator.images import manifest as manifests
from orchestrator.images.build import ignore
from orchestrator.images.build.dockerfile import Wrong
from orchestrator.images.manifest import Platform

LARGEST = 8 << 20  # letters of a Dockerfile


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built. `secrets`: id → content. `contexts`: name → directory, or "docker-image://…".

    `cache_from`: references of images; `cache_to`: ("inline" | "registry" | "local", where, of all stages?).
    `after`: names of orders that must be done before. `host_network`: steps may ask for the host's.
    """

    name: str  # the service's, for messages
    context: str
    dockerfile: str = ""
    inline: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()
    no_cache: bool = False
    no_cache_stages: Sequence[str] = ()
    pull: bool = False
    network: str = ""
    host_network: bool = False
    shm_size: int | None = None
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    ulimits: Mapping[str, Sequence[int]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    cache_from: Sequence[str] = ()
    cache_to: Sequence[tuple[str, str, bool]] = ()
    after: Sequence[str] = ()

    @property
    def cannot(self) -> str:
        return f"cannot build '{self.name}'"


def text(order: Order) -> tuple[str, str]:
    """The Dockerfile, and where it stands. Raises Mistake."""
    if not os.path.isdir(order.context):
        raise Mistake(f"{order.cannot}: there is no directory {order.context}")
    if order.inline:
        return order.inline, f"{order.name}: dockerfile_inline"
    where = os.path.join(order.context, order.dockerfile or "Dockerfile")
    return _read(where, order.cannot), where


def hidden(order: Order, where: str) -> tuple[list[str], tuple[ignore.Rule, ...]]:
    """The patterns of what is not to be seen of the context: of the Dockerfile's own list, else of .dockerignore.

    Raises Mistake.
    """
    for path in (f"{where}.dockerignore", os.path.join(order.context, ".dockerignore")):
        if os.path.isfile(path):
            try:
                patterns = ignore.lines(_read(path, order.cannot))
                return patterns, ignore.rules(patterns)
            except ValueError as error:
                raise Mistake(f"{order.cannot}: {path}: {error}") from error
    return [], ()


def platform(order: Order) -> Platform:
    """Raises Mistake."""
    try:
        return manifests.platform(order.platform) if order.platform else manifests.here()
    except ValueError as error:
        raise Mistake(f"{order.cannot}: {error}") from error


def known_arguments(wanted: Platform, target: str) -> dict[str, str]:
    """TARGETPLATFORM, BUILDARCH and their like ("Automatic platform ARGs in the global scope")."""
    known: dict[str, str] = {"TARGETSTAGE": target or "default"}
    for name, one in {"TARGET": wanted, "BUILD": manifests.here()}.items():
        variant = one.variant if one.architecture != "arm64" else ""
        known |= {
            f"{name}PLATFORM": f"{one.os}/{one.architecture}" + (f"/{variant}" if variant else ""),
            f"{name}OS": one.os,
            f"{name}ARCH": one.architecture,
            f"{name}VARIANT": variant,
        }
    return known


def pointed(where: str, text: str, error: Wrong) -> str:
    """The mistake, and the line it is in."""
    lines = text.removeprefix("\ufeff").split("\n")
    line = lines[error.line - 1].rstrip("\r") if 0 < error.line <= len(lines) else ""
    before = "".join("\t" if letter == "\t" else " " for letter in line[: error.column - 1])
    return f"{where}:{error.line}:{error.column}: {error.why}\n  {line}\n  {before}^"


def _read(path: str, cannot: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            found = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise Mistake(f"{cannot}: there is no {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(f"{cannot}: {path} cannot be read: {error}") from error
    if len(found) > LARGEST:
        raise Mistake(f"{cannot}: {path} is larger than {LARGEST >> 20} MiB")
    return found
