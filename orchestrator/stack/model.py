"""The user's words as frozen values: defaults filled in, units converted, every path absolute.

Durations are seconds, sizes bytes, cpus cores. Where a value came from is in `Stack.origins`, by its key path
("services.api.environment.URL"); a path without an entry of its own has the origin of its nearest parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.health.check import Check
from orchestrator.policy.restart import RestartPolicy
from orchestrator.scheduler.node import Request


@dataclass(frozen=True, slots=True)
class Origin:
    """A place in a file, lines and columns counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file.rsplit('/', 1)[-1]}:{self.line}"


@dataclass(frozen=True, slots=True)
class Dependency:
    condition: Literal["started", "healthy", "completed"] = "started"
    restart: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True)
class Port:
    """`published` None: any free port of the host. `host_ip` "127.0.0.1" unless written."""

    target: int
    published: int | None = None
    host_ip: str = "127.0.0.1"
    protocol: Literal["tcp", "udp"] = "tcp"


@dataclass(frozen=True, slots=True)
class Attachment:
    """How a service stands in one of the stack's networks (by the network's key in the file)."""

    aliases: tuple[str, ...] = ()
    ipv4_address: str | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Mount:
    """`source`: an absolute path (bind), the volume's key in the file (volume; None: anonymous), None (tmpfs)."""

    kind: Literal["bind", "volume", "tmpfs"]
    target: str
    source: str | None = None
    read_only: bool = False
    size: int | None = None
    mode: int | None = None
    create_host_path: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    cpus: float | None = None
    memory: int | None = None
    pids: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)  # env_file and environment, resolved
    working_dir: str | None = None
    user: str | None = None
    hostname: str | None = None
    depends_on: Mapping[str, Dependency] = field(default_factory=dict)
    healthcheck: Check | None = None
    healthcheck_disabled: bool = False  # `disable: true` or test: ["NONE"]: the image's own check is off too
    restart: RestartPolicy = RestartPolicy()
    ports: tuple[Port, ...] = ()
    networks: Mapping[str, Attachment] = field(default_factory=dict)  # "default" is written out
    mounts: tuple[Mount, ...] = ()  # volumes and tmpfs together
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str | None = None  # None: the image's, else SIGTERM
    stop_grace_period: float = 10.0
    init: bool = False
    read_only: bool = False
    cap_add: tuple[str, ...] = ()  # without CAP_, upper case; "ALL" allowed
    cap_drop: tuple[str, ...] = ()
    replicas: int = 1
    limits: Limits = Limits()
    reservations: Request = Request()
    extensions: Mapping[str, Any] = field(default_factory=dict)  # x-*


@dataclass(frozen=True, slots=True)
class Network:
    """`key` as in the file; `name` as the host knows it (`<stack>_<key>` unless written)."""

    key: str
    name: str
    subnet: str | None = None  # ipam.config[0].subnet
    gateway: str | None = None
    internal: bool = False
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Volume:
    key: str
    name: str
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stack:
    """One checked stack. Only networks and volumes that some service uses are in it, external ones included."""

    name: str
    directory: str  # what relative paths were resolved against
    files: tuple[str, ...]
    services: Mapping[str, Service]
    networks: Mapping[str, Network] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    extensions: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()  # every file that was read or looked for

    def origin(self, path: str) -> Origin | None:
        """Where the value at `path`, or its nearest parent, was written."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path.rpartition(".")[0]
        return None
