"""The user's words as frozen values: defaults filled in, units converted, every path absolute.

Durations are seconds, sizes bytes, cpus cores. Where a value came from is in `Stack.origins`, by its key path
("services.api.environment.URL"); a path without an entry of its own has the origin of its nearest parent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.health.check import Check
from orchestrator.health.judge import patience
from orchestrator.health.probe import ROLES, Role
from orchestrator.policy.pull import PullPolicy
from orchestrator.policy.restart import RestartPolicy
from orchestrator.policy.rollout import Rollout
from orchestrator.scheduler.node import Request
from orchestrator.stack.origin import Origin
from orchestrator.stack.parts import (
    Answer,
    Attachment,
    Build,
    Dependency,
    Device,
    Grant,
    Healing,
    Hook,
    Limits,
    Logging,
    Lookup,
    Mount,
    OnChange,
    Placement,
    Port,
    Probing,
    Sandbox,
    VolumesFrom,
)

__all__ = (
    "Answer",
    "Attachment",
    "Build",
    "Dependency",
    "Device",
    "Grant",
    "Healing",
    "Hook",
    "Limits",
    "Logging",
    "Lookup",
    "Material",
    "Mount",
    "Network",
    "OnChange",
    "Origin",
    "Placement",
    "Port",
    "Probing",
    "Sandbox",
    "Service",
    "Shares",
    "Stack",
    "Volume",
    "VolumesFrom",
)


@dataclass(frozen=True, slots=True)
class Shares:
    """What the stack as a whole leaves free on each node, and the most it may reserve; `gang`: all of it or nothing."""

    reserve_cpus: float = 0.0
    reserve_memory: int = 0
    quota_cpus: float | None = None
    quota_memory: int | None = None
    gang: bool = False


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
    volumes_from: tuple[VolumesFrom, ...] = ()
    grants: tuple[Grant, ...] = ()  # configs and secrets together
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
    placement: Placement = Placement()
    container_name: str | None = None
    platform: str | None = None
    pull_policy: PullPolicy = PullPolicy()
    build: Build | None = None
    image_digest: str = ""  # the manifest that `image` stands for, pinned by `up`; "" where it is used as it stands
    attach: bool = True
    annotations: Mapping[str, str] = field(default_factory=dict)
    network_mode: str | None = None  # "none", "host", "service:X", "container:X": then `networks` is empty
    logging: Logging = Logging()
    lookup: Lookup = Lookup()
    sandbox: Sandbox = Sandbox()
    update: Rollout | None = None
    rollback: Rollout | None = None
    canary: int = 0  # so many replicas of a new version first; 0: no canaries
    drain: float | None = None  # None: as long as connections are open, within stop_grace_period
    job: Literal["once-per-change", "always"] | None = None
    pre_start: tuple[Hook, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    probes: Mapping[Role, Probing] = field(default_factory=dict)
    healing: Healing = Healing()
    on_change: OnChange = OnChange()
    extensions: Mapping[str, Any] = field(default_factory=dict)  # x-*

    @property
    def checked(self) -> bool:
        """Whether it says by itself when it is ready."""
        return self.healthcheck is not None or "ready" in self.probes or "startup" in self.probes

    @property
    def roles(self) -> tuple[Role, ...]:
        """The questions it is asked, in their order."""
        return tuple(role for role in ROLES if role in self.probes or (role == "healthcheck" and self.healthcheck))

    def check(self, role: Role) -> Check:
        """How often, and how patiently, it is asked."""
        if role == "healthcheck" and self.healthcheck is not None:
            return self.healthcheck
        return self.probes[role].check

    @property
    def patience(self) -> float:
        """Seconds in which no check can condemn it: a run that ended for its health before that was no good stretch."""
        return max((patience(self.check(role)) for role in self.roles if role != "ready"), default=0.0)


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
    ip_range: str | None = None  # addresses of containers are chosen from here
    reserved: tuple[str, ...] = ()  # ipam.config[0].aux_addresses: never given to a container
    mtu: int | None = None
    interface: str | None = None  # a further name of its bridge on the host
    enable_ipv6: bool = False
    subnet6: str | None = None
    gateway6: str | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """`options`: the local driver's `type`, `o` and `device`, as for mount(8). `protect`: removed only by force."""

    key: str
    name: str
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    writers: int | None = None  # replicas that may have it mounted for writing at once; None: any number
    options: Mapping[str, str] = field(default_factory=dict)
    protect: bool = False


@dataclass(frozen=True, slots=True)
class Material:
    """A config or a secret. `where` its content comes from: a path, a variable's name, the name it is kept under
    (external). `digest` names the content, which is never in here: "" until `contents.read` has seen it."""

    kind: Literal["config", "secret"]
    key: str
    name: str
    source: Literal["file", "environment", "content", "external"]
    where: str
    digest: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.kind}s.{self.key}"


@dataclass(frozen=True, slots=True)
class Stack:
    """One checked stack. Only networks, volumes, configs and secrets that some service uses are in it, external ones
    included. `contents`: what configs and secrets say, by `Material.id`, as far as it was read; never written out.
    `derived`: what was worked out from this very object, and lives as long as it does (see `reconcile.blueprint`).
    """

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
    shares: Shares = Shares()
    configs: Mapping[str, Material] = field(default_factory=dict)
    secrets: Mapping[str, Material] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    derived: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def atomic(self) -> bool:
        """A failed gate takes the whole revision back."""
        return bool((self.extensions.get("x-pyorch") or {}).get("atomic"))

    def origin(self, path: str) -> Origin | None:
        """Where the value at `path`, or its nearest parent, was written."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path.rpartition(".")[0]
        return None
