"""What a reference turns into: everything the runtime must know to make a root from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.images.config import Healthcheck

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    """`layers`: directories for overlayfs `lowerdir`, topmost first. `mounts`: OCI mounts the root needs besides.

    The rest are the defaults a service inherits where it says nothing (OCI image configuration, "Properties").
    `digest` changes when the contents that the image stands for change. `exposed` are ports as "80/tcp", `volumes`
    paths that are to be volumes of each container's own, filled with what the image has there.
    """

    reference: str
    digest: str
    layers: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": STANDARD_PATH})
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    working_dir: str = "/"
    user: str | None = None
    mounts: tuple[Mapping[str, Any], ...] = ()
    stop_signal: str | None = None
    healthcheck: Healthcheck | None = None
    exposed: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
