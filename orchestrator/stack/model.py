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
from orchestrator.health.probe import ROLES, Probe, Role
from orchestrator.policy.pull import PullPolicy
from orchestrator.policy.restart import RestartPolicy
from orchestrator.policy.rollout import Rollout
from orchestrator.scheduler.node import PRIORITY, Affinity, Constraint, Request
from orchestrator.stack.origin import Origin as Origin


@dataclass(frozen=True, slots=True)
class Dependency:
    condition: Literal["started", "healthy", "completed"] = "started"
    restart: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True)
class Port:
    """`published` None: any free port of the host; with `last`: any free one from `published` to `last`.

    `host_ip` "127.0.0.1" unless written. `name` and `app_protocol` are remarks for people and tools.
    """

    target: int
    published: int | None = None
    host_ip: str = "127.0.0.1"
    protocol: Literal["tcp", "udp"] = "tcp"
    last: int | None = None
    name: str = ""
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """How a service stands in one of the stack's networks (by the network's key in the file).

    `link_local`: further addresses with prefix length. `sysctls`: of its interface, IFNAME standing for its name.
    """

    aliases: tuple[str, ...] = ()
    ipv4_address: str | None = None
    priority: int = 0
    gw_priority: int = 0
    mac_address: str | None = None
    interface_name: str | None = None
    ipv6_address: str | None = None
    link_local: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    """`source`: an absolute path (bind), the volume's key in the file (volume; None: anonymous), None (tmpfs).

    `recursive`: what becomes of mounts below a bind's source ("": they come along, and are as read-only as it is).
    `idmap`: "uid:gid", whose the files are on the host that belong to the service's user inside. `service`: whose
    anonymous volume it is, where not the service's own (`volumes_from`). `labels`: of an anonymous volume.
    """

    kind: Literal["bind", "volume", "tmpfs"]
    target: str
    source: str | None = None
    read_only: bool = False
    size: int | None = None
    mode: int | None = None
    create_host_path: bool = False
    options: tuple[str, ...] = ()
    propagation: str = ""
    recursive: Literal["", "disabled", "writable"] = ""
    subpath: str = ""
    idmap: str = ""
    service: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class VolumesFrom:
    """Everything that a service (or, by its name, any container) has mounted is mounted here too."""

    source: str
    container: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """A config or secret (by its key) as a read-only file in a service's containers."""

    kind: Literal["config", "secret"]
    source: str
    target: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o444


@dataclass(frozen=True, slots=True)
class Limits:
    """What the control group holds a container to; None: the usual. `memswap`: memory and swap together, -1: no end.

    `pids` -1: no limit. `cpu_quota` and `cpu_period`: microseconds, instead of `cpus`.
    """

    cpus: float | None = None
    memory: int | None = None
    pids: int | None = None
    memswap: int | None = None
    mem_swappiness: int | None = None
    oom_kill_disable: bool = False
    cpu_shares: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None


@dataclass(frozen=True, slots=True)
class Logging:
    """What becomes of the output: kept in at most `max_file` files of `max_size` bytes; `kept` False: dropped."""

    kept: bool = True
    max_size: int | None = None
    max_file: int | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """How a container finds others. `extra_hosts`: name → addresses, "host-gateway" is the host.

    `dns`: resolvers for names that are none of ours; `dns_search`, `dns_opt`: resolv.conf(5). `links`: alias → service,
    `external_links`: alias → container, both for this container alone.
    """

    extra_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    external_links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the host, as the container sees it; `permissions` of "rwm" (m: mknod)."""

    source: str
    target: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Where a container's walls differ from the usual ones. Fields are the Specification's keys.

    `pid`, `ipc`: "host", "service:X", "container:X", else its own. `ulimits`: name → (soft, hard), -1: no limit.
    `blkio`: (key of blkio_config, path of the device or "", weight or rate in bytes or operations a second).
    `seccomp`: "unconfined", or the path of a profile. `unmasked`: systempaths=unconfined.
    """

    privileged: bool = False
    new_privileges: bool = False  # security_opt: no-new-privileges:false
    seccomp: str | None = None
    unmasked: bool = False
    cpuset: str = ""
    blkio: tuple[tuple[str, str, int], ...] = ()
    devices: tuple[Device, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    ulimits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    shm_size: int | None = None
    pid: str = "private"
    ipc: str = "private"
    uts: str = "private"
    cgroup: str = "private"
    cgroup_parent: str | None = None
    group_add: tuple[str, ...] = ()
    oom_score_adj: int | None = None
    domainname: str | None = None
    tty: bool = False
    stdin_open: bool = False


@dataclass(frozen=True, slots=True)
class Probing:
    """A probe, and how often it is asked (`check.test` is empty)."""

    probe: Probe
    check: Check


Answer = Literal["none", "reload", "restart", "recreate"]


@dataclass(frozen=True, slots=True)
class OnChange:
    """What a new content of a config or secret leads to."""

    config: Answer = "recreate"
    secret: Answer = "recreate"

    def to(self, kind: str) -> Answer:
        return self.config if kind == "config" else self.secret


@dataclass(frozen=True, slots=True)
class Healing:
    """`restart`: what a fresh start of a dependency does; `down`: what its absence does. `drift`: what was changed
    behind our back is put right, or only told; `kinds`: kinds of drift of which the file says so in so many words;
    `ignore`: those that are not even told."""

    restart: Literal["ignore", "restart", "reload"] = "ignore"
    down: Literal["wait", "stop"] = "wait"
    reload_signal: str = "SIGHUP"
    drift: Literal["heal", "report"] = "heal"
    ignore: tuple[str, ...] = ()
    kinds: Mapping[str, Literal["heal", "report"]] = field(default_factory=dict)

    def answer(self, kind: str) -> Literal["heal", "report", "ignore"]:
        """What is done about a drift of this kind."""
        return "ignore" if kind in self.ignore else self.kinds.get(kind, self.drift)


@dataclass(frozen=True, slots=True)
class Hook:
    """A command that is run inside a container: `pre_start` (in one of its own), `post_start`, `pre_stop`."""

    command: tuple[str, ...]
    user: str | None = None
    working_dir: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Build:
    """How an image is made. `context`: a directory, or a repository's address. `secrets`: id in the Dockerfile → key
    of a secret of the stack. `contexts`: name → directory, repository, "docker-image://…" or "service:…".
    `cache_from`: references; `cache_to`: ("inline" | "registry" | "local", where, of all stages?)."""

    context: str
    dockerfile: str = ""
    inline: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    no_cache: bool = False
    no_cache_stages: tuple[str, ...] = ()
    pull: bool = False
    network: str = ""
    host_network: bool = False
    shm_size: int | None = None
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    ulimits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[tuple[str, str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Which nodes a service may and would rather go to. `everywhere`: one on each (mode global); `job`: it ends.
    `runtime`: the OCI runtime that its node must offer, "" for the native one. `device_ids`: by kind, which ones."""

    everywhere: bool = False
    job: bool = False
    constraints: tuple[Constraint, ...] = ()
    spread: tuple[str, ...] = ()  # keys such as node.labels.zone
    per_node: int = 0  # 0: any number
    affinities: tuple[Affinity, ...] = ()
    priority: int = PRIORITY
    runtime: str = ""
    device_ids: tuple[tuple[str, tuple[str, ...]], ...] = ()


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

    @property
    def atomic(self) -> bool:
        """A failed gate takes the whole revision back."""
        return bool((self.extensions.get("x-pyorch") or {}).get("atomic"))

    configs: Mapping[str, Material] = field(default_factory=dict)
    secrets: Mapping[str, Material] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    derived: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def origin(self, path: str) -> Origin | None:
        """Where the value at `path`, or its nearest parent, was written."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path.rpartition(".")[0]
        return None
