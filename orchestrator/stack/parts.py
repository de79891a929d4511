"""The parts of a service, each a value of its own: what it depends on, mounts, publishes, is held to, is asked.

Durations are seconds, sizes bytes, cpus cores. See `model` for the service and the stack they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.health.check import Check
from orchestrator.health.probe import Probe
from orchestrator.scheduler.node import PRIORITY, Affinity, Constraint


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
