"""What would happen: the real decider on nodes that are only on paper, in a time that only passes when nothing is left
to do in the present moment.

Every deed takes a fixed time; what runs goes on running, is healthy after its first check, and ends by itself (code 0)
where somebody waits for its completion. A killed node takes its containers with it; its volumes stay on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from orchestrator.health.check import Verdict
from orchestrator.policy.restart import Exit
from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.plan import (
    Action,
    DropNetwork,
    DropVolume,
    Hold,
    MakeNetwork,
    MakeVolume,
    Plan,
    Remove,
    Start,
    Stop,
)
from orchestrator.reconcile.world import Container, Wanted, World
from orchestrator.scheduler.node import Node
from orchestrator.stack.model import Stack

TAKES = 0.01  # seconds of any deed
RUNS = 1.0  # seconds that a service runs whose completion is waited for
TURNS = 10_000  # a world that still moves after so many turns never settles


@dataclass(frozen=True, slots=True)
class Event:
    """Something that befalls a node at a time (seconds from the beginning)."""

    at: float
    deed: Literal["kill", "revive", "drain", "cordon", "uncordon"]
    node: str


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened: an action or hold of the plan, an event, or the end of a container."""

    at: float
    text: str
    action: Action | Hold | None = None


@dataclass(frozen=True, slots=True)
class Simulation:
    timeline: tuple[Line, ...]
    containers: tuple[Container, ...]
    plan: Plan
    ended: float


@dataclass(slots=True)
class Virtual:
    """The nodes and what lies on them, and the deeds under way: (when it is done, what)."""

    wanted: Wanted
    nodes: dict[str, Node]
    now: float = 0.0
    containers: dict[str, Container] = field(default_factory=dict)
    networks: set[str] = field(default_factory=set)
    volumes: dict[str, str] = field(default_factory=dict)  # where it lies; "": nowhere yet
    deeds: dict[str, tuple[float, Action]] = field(default_factory=dict)
    fates: dict[str, float] = field(default_factory=dict)  # container → when it is healthy, or ends
    homes: dict[str, str] = field(default_factory=dict)  # where each replica lay last
    lines: list[Line] = field(default_factory=list)
    ends: frozenset[str] = frozenset()  # services that end by themselves

    def world(self) -> World:
        return World(
            tuple(self.nodes.values()),
            tuple(self.containers.values()),
            frozenset(self.networks),
            frozenset(self.volumes),
            frozenset(self.deeds),
            making=frozenset(name for name, (_, deed) in self.deeds.items() if isinstance(deed, Start)),
            volume_nodes={volume: node for volume, node in self.volumes.items() if node},
            homes=self.homes,
        )

    def do(self, action: Action) -> None:
        match action:
            case MakeNetwork(subject=name):
                self.networks.add(name)
            case MakeVolume(subject=name):
                self.volumes[name] = ""
            case DropNetwork(subject=name):
                self.networks.discard(name)
            case DropVolume(subject=name):
                self.volumes.pop(name, None)
            case Remove(subject=name):
                self.containers.pop(name, None)
            case Stop(subject=name) if name in self.containers:
                if action.moved:
                    self.homes.pop(name, None)
                self.end(name, 143, "moved" if action.moved else "unhealthy" if action.failure else "asked")
            case Start():
                self.start(action)

    def start(self, start: Start) -> None:
        """A node that died meanwhile cannot: the next turn sees the slot empty."""
        if not self.nodes[start.node].ready:
            return
        service, name = start.replica.definition, start.subject
        before = self.containers.get(name)
        self.homes[name] = start.node
        self.containers[name] = Container(
            before.id if before else f"{len(self.lines):012x}",
            name,
            start.replica.stack,
            service.name,
            start.replica.slot,
            start.replica.digest,
            start.node,
            "running",
            start.replica.meaning,
            self.now,
            Verdict("starting", self.now) if service.healthcheck else None,
            before.exits if before else (),
            service_definition=service,
        )
        for mount in service.mounts if self.volumes else ():
            volume = self.wanted.stack.volumes.get(mount.source or "") if mount.kind == "volume" else None
            if volume is not None and not volume.external and not self.volumes.get(volume.name):
                self.volumes[volume.name] = start.node
        if service.healthcheck is not None:
            self.fates[name] = self.now + (service.healthcheck.start_interval or TAKES)
        elif service.name in self.ends:
            self.fates[name] = self.now + RUNS

    def meet(self, name: str) -> None:
        """What was in store for a container: healthy, or its end."""
        container = self.containers.get(name)
        if container is None or container.phase != "running":
            return
        if container.verdict is not None and container.verdict.status == "starting":
            self.containers[name] = replace(container, verdict=Verdict("healthy", self.now))
            if container.service in self.ends:
                self.fates[name] = self.now + RUNS
        else:
            self.end(name, 0, "exited")
            self.lines.append(Line(self.now, f"{name} ended with code 0"))

    def end(self, name: str, code: int, cause: Literal["exited", "asked", "unhealthy", "moved"]) -> None:
        container = self.containers[name]
        exit = Exit(container.started or 0.0, self.now, code, None, cause)
        self.containers[name] = replace(container, phase="exited", verdict=None, exits=(*container.exits, exit)[-32:])

    def befall(self, event: Event) -> None:
        node = self.nodes[event.node]
        match event.deed:
            case "kill":
                lost = [name for name, container in self.containers.items() if container.node == event.node]
                for name in lost:
                    del self.containers[name]
                self.nodes[event.node] = replace(node, ready=False)
                said = f"{event.node} dies, and with it {', '.join(lost[:3])}" if lost else f"{event.node} dies"
                said += f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            case "revive":
                self.nodes[event.node] = replace(node, ready=True)
                said = f"{event.node} is back"
            case "drain":
                self.nodes[event.node] = replace(node, drained=True)
                said = f"{event.node} is drained"
            case "cordon":
                self.nodes[event.node] = replace(node, cordoned=True)
                said = f"{event.node} is cordoned"
            case "uncordon":
                self.nodes[event.node] = replace(node, cordoned=False, drained=False)
                said = f"{event.node} is open again"
        self.lines.append(Line(self.now, said))


def ends(stack: Stack) -> frozenset[str]:
    """Services whose end somebody waits for."""
    return frozenset(
        needed
        for service in stack.services.values()
        for needed, how in service.depends_on.items()
        if how.condition == "completed"
    )


def simulate(stack: Stack, nodes: Sequence[Node], events: Sequence[Event] = ()) -> Simulation:
    """Until nothing is left to do and nothing is to come, or `TURNS` turns."""
    world = Virtual(Wanted(stack, active=frozenset(stack.services)), {node.name: node for node in nodes})
    world.ends = ends(stack)
    coming = sorted(events, key=lambda event: event.at)
    held: dict[str, str] = {}
    plan = Plan()
    for _ in range(TURNS):
        plan = reconcile([world.wanted], world.world(), world.now)
        for action in plan.actions:
            world.deeds[action.subject] = (world.now + TAKES, action)
            world.lines.append(Line(world.now, str(action), action))
        for hold in plan.holds:
            if held.get(hold.subject) != hold.why and hold.outlook != "soon":
                world.lines.append(Line(world.now, hold.text(world.now), hold))
        held = {hold.subject: hold.why for hold in plan.holds}
        upcoming = min(_moments(world, coming, plan), default=math.inf)
        if upcoming == math.inf:
            break
        _advance(world, coming, upcoming)
    return Simulation(tuple(world.lines), tuple(world.containers.values()), plan, world.now)


def _moments(world: Virtual, coming: Sequence[Event], plan: Plan) -> Iterator[float]:
    yield from (at for at, _ in world.deeds.values())
    yield from world.fates.values()
    yield from (event.at for event in coming[:1])
    if plan.due is not None:
        yield max(plan.due, world.now)


def _advance(world: Virtual, coming: list[Event], to: float) -> None:
    world.now = max(world.now, to)
    for subject, (at, action) in list(world.deeds.items()):
        if at <= to:
            del world.deeds[subject]
            world.do(action)
    for name, at in list(world.fates.items()):
        if at <= to:
            del world.fates[name]
            world.meet(name)
    while coming and coming[0].at <= to:
        world.befall(coming.pop(0))
