"""The values of placement: what a replica asks, what a node has, and the two possible answers.

Cpus are cores, memory is bytes. Everything a `Request` says is said of one replica, and a request is hashable: replicas
that ask for the same are decided by the same look (see `fleet`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PRIORITY = 50  # where nothing is written; 0 … 100
ALL = 1 << 20  # as a number of devices: all that the node has, and at least one


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the host that a replica publishes. "0.0.0.0" and "::" are every address."""

    port: int
    protocol: str = "tcp"
    address: str = "0.0.0.0"

    def clashes(self, other: HostPort) -> bool:
        everywhere = {"0.0.0.0", "::", ""}
        meet = self.address == other.address or bool({self.address, other.address} & everywhere)
        return meet and self.port == other.port and self.protocol == other.protocol

    def __str__(self) -> str:
        return f"{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Constraint:
    """`key == value`, or `!=`. Keys as Swarm has them: node.hostname, node.role, node.labels.disk, engine.labels …"""

    key: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        return f"{self.key} {'==' if self.equal else '!='} {self.value}"


@dataclass(frozen=True, slots=True)
class Affinity:
    """Nearness to replicas of `service`, or to nodes with a label. `weight` 1 … 100; negative: away from it.

    `required`: a filter and no wish. Exactly one of `service` and `label` is written.
    """

    weight: int = 10
    service: str = ""
    label: tuple[str, str] | None = None
    required: bool = False

    def __str__(self) -> str:
        what = f"{self.label[0]}={self.label[1]}" if self.label else self.service
        return f"{'apart from' if self.weight < 0 else 'with'} {what}"


@dataclass(frozen=True, slots=True)
class Request:
    """What one replica asks of its node: `cpus` in cores, `memory` in bytes, `devices` as (kind, count or ALL).

    `service` names the group that `per_node` (at most so many on a node; 0: any number), `spread` (label keys whose
    values are to get equally many) and affinities count by. `volumes` live on one node each, and hold it there.
    `spare_cpus` and `spare_memory` must be left over on the node beside it.
    """

    cpus: float = 0.0
    memory: int = 0
    pids: int = 0
    devices: tuple[tuple[str, int], ...] = ()
    ports: tuple[HostPort, ...] = ()
    runtime: str = ""
    architecture: str = ""
    constraints: tuple[Constraint, ...] = ()
    service: str = ""
    per_node: int = 0
    volumes: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()
    affinities: tuple[Affinity, ...] = ()
    priority: int = PRIORITY
    spare_cpus: float = 0.0
    spare_memory: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A machine: its capacity less what is kept free, and what may be said of it.

    `cpu_ratio` and `memory_ratio`: how much may be reserved of each core and byte (2.0: twice what there is).
    `pids` 0: not counted. `drained` nodes keep nothing, `cordoned` ones take nothing new.
    """

    name: str
    cpus: float
    memory: int
    ready: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    pids: int = 0
    devices: Mapping[str, int] = field(default_factory=dict)
    runtimes: tuple[str, ...] = ()  # besides the native one
    architecture: str = ""
    os: str = "linux"
    role: str = "worker"
    engine_labels: Mapping[str, str] = field(default_factory=dict)
    cordoned: bool = False
    drained: bool = False
    cpu_ratio: float = 1.0
    memory_ratio: float = 1.0

    @property
    def takes(self) -> bool:
        """Whether anything new may go there."""
        return self.ready and not self.cordoned and not self.drained


@dataclass(frozen=True, slots=True)
class Row:
    """One node in the score table of a placement: `fault` where it was ruled out, else how good it is.

    `preference`: what spread and affinities have against it, less is better and counts first. `score`: the lowest among
    equal preferences is chosen; it is the sum of `stranded`, the share of a largest node that can no longer be used
    with the request there, and of `left`, what stays free as a small share. `reserved`: the mean share of its cpus and
    memory that is reserved with the request. Free cores and bytes are those before it.
    """

    node: str
    fault: str | None
    preference: float = 0.0
    score: float = 0.0
    stranded: float = 0.0
    left: float = 0.0
    reserved: float = 0.0
    free_cpus: float = 0.0
    free_memory: int = 0
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """The replica goes to `node`; `why` says what decided it. `scores`: how every node did, where that is kept."""

    node: str
    why: str
    scores: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """One filter, and how many nodes it rules out by itself."""

    filter: str
    nodes: int
    text: str


@dataclass(frozen=True, slots=True)
class Nearest:
    """The node that lacks least, and what it lacks: resource → missing amount (cores, bytes, counts)."""

    node: str
    short: Mapping[str, float]
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """One change that would make it fit. `kind`: lower, stop, move, uncordon, constraint, label, runtime, port,
    per_node, affinity, node. Lowered to `cpus` cores, `memory` bytes, or `count` of `resource` (pids, a device)."""

    kind: str
    text: str
    node: str = ""
    subject: str = ""
    cpus: float | None = None
    memory: int | None = None
    resource: str = ""
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It goes nowhere now; `why` is the sentence with the figures, the rest is the same as data."""

    why: str
    reasons: tuple[Reason, ...] = ()
    nearest: Nearest | None = None
    fixes: tuple[Fix, ...] = ()
