"""What is the case, and what is wanted: the two values the decider compares. Times are CLOCK_MONOTONIC seconds, which
stand still while the machine sleeps; only the end of a suspension is CLOCK_BOOTTIME."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.health.check import Verdict
from orchestrator.policy.restart import Exit
from orchestrator.scheduler.node import Node
from orchestrator.stack.model import Service, Stack

Phase = Literal["created", "running", "exited"]  # created: it exists and was never started


@dataclass(frozen=True, slots=True)
class Container:
    """One container as it is. `exits`: the newest last, at most 32; kept over restarts of the same slot.

    `meaning` is what it was made from (`replica.meaning`), so that a change can be named. `attempts` are failures to
    bring it up at all (image, address, port, kernel), newest last, with their sentence in `trouble`.
    """

    id: str
    name: str
    stack: str
    service: str
    slot: int
    digest: str
    node: str
    phase: Phase
    meaning: Mapping[str, str] = field(default_factory=dict)
    started: float | None = None  # of the present or latest run
    verdict: Verdict | None = None  # None: no check, or not running
    exits: tuple[Exit, ...] = ()
    stop_signal: str = "SIGTERM"
    stop_grace_period: float = 10.0
    bounds_off: str | None = None  # its limits changed, and its control group has the old ones
    drifted: Mapping[str, str] = field(default_factory=dict)  # kind of drift → what somebody else has done to it
    contents: Mapping[str, str] = field(default_factory=dict)  # digests, see `replica.contents`
    reloaded: float | None = None  # when it was last sent its reload signal
    service_definition: Service | None = (
        None  # what it was made from: order and networks when the stack no longer has it
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """A slot that could not be brought up: how often in a row, when last, and the sentence."""

    count: int
    at: float
    why: str


@dataclass(frozen=True, slots=True)
class World:
    """`busy`: names of subjects with a deed under way. `networks` and `volumes`: host-side names that exist.

    `failures`: by container name, deeds of bringing it up that failed since the last success. `done`: jobs that have
    ended well, as (stack, service, slot, digest); slot 0 stands for the `pre_start` hooks of a service.
    `making`: those of `busy` that are being started: they may be among no containers yet. `futile`: subject → why it
    is not put right any more (see `agent.loops`). `volume_nodes`: where each volume lies, as far as it is known.
    `homes`: where a replica lay last, and goes again if it fits. `moves`: replicas that somebody asked to move, and
    where to. `slept`: seconds that the machine has slept, CLOCK_BOOTTIME less CLOCK_MONOTONIC. `explained`: placements
    are to carry their score tables. `broken`: networks that somebody else has broken, and how; they are not among
    `networks`. `unnamed`: networks that no stack names any more and no container is in → the stack they were made for.
    """

    nodes: tuple[Node, ...]
    containers: tuple[Container, ...] = ()
    networks: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()
    busy: frozenset[str] = frozenset()
    failures: Mapping[str, Failure] = field(default_factory=dict)
    done: frozenset[tuple[str, str, int, str]] = frozenset()
    futile: Mapping[str, str] = field(default_factory=dict)
    making: frozenset[str] = frozenset()
    volume_nodes: Mapping[str, str] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    moves: Mapping[str, str] = field(default_factory=dict)
    slept: float = 0.0
    explained: bool = False
    broken: Mapping[str, str] = field(default_factory=dict)
    unnamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A stack and what its user has asked of it since.

    `active`: services that are to run (`up` adds, with their dependencies). `stopped`: services stopped by hand: kept,
    not running. `restarts`: service → time; a replica started before it is restarted, and those that
    follow it, unless it is among the `unfollowed`. `orphans`: services that an
    earlier revision had and the file no longer has; they go on until `--remove-orphans`. `down`: take everything away
    (and its volumes where `volumes`). `recreate`: service → time; a container whose run began before it is replaced.
    `renewed`: service → seconds of the wall clock; the volumes that nobody named go with a container made before that.
    `retries`: service → time; what failed before it is forgiven and tried again, what runs or completed is left alone.
    `suspended`: service or "*" → (end, why); its end is CLOCK_BOOTTIME: it comes on time though the machine slept.
    `proven`: this revision has been ready as a whole. `taken_back`: services that go back to what they were, under
    their `rollback_config`. `promoted`: service → digest that may follow its canary.
    """

    stack: Stack
    revision: int = 1
    active: frozenset[str] = frozenset()
    stopped: frozenset[str] = frozenset()
    restarts: Mapping[str, float] = field(default_factory=dict)
    unfollowed: frozenset[str] = frozenset()
    recreate: Mapping[str, float] = field(default_factory=dict)
    renewed: Mapping[str, float] = field(default_factory=dict)
    retries: Mapping[str, float] = field(default_factory=dict)
    orphans: Mapping[str, Service] = field(default_factory=dict)
    scale: Mapping[str, int] = field(default_factory=dict)
    down: bool = False
    remove_volumes: bool = False
    proven: bool = False
    taken_back: frozenset[str] = frozenset()
    promoted: Mapping[str, str] = field(default_factory=dict)
    suspended: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    grace: float | None = None  # `-t`: overrides each service's stop_grace_period while going down or stopping
