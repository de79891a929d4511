"""The toy world: the one fake runtime, in memory, with a clock in hand.

It does what a plan says, deed by deed, each taking its time; what runs lives by its service's `Nature`. It keeps the
house rules itself (`Broken` is raised where a plan breaks one), so every test that plays with it checks them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.health.check import Result, Verdict
from orchestrator.policy.restart import Exit
from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.plan import (
    Action,
    Adjust,
    DropNetwork,
    DropVolume,
    MakeNetwork,
    MakeVolume,
    Plan,
    Prepare,
    Reload,
    Remove,
    Start,
    Stop,
)
from orchestrator.reconcile.world import Container, Failure, Wanted, World
from orchestrator.scheduler.node import Node, Request


class Broken(AssertionError):
    """A plan broke a rule of the house."""


@dataclass(frozen=True)
class Life:
    """One run: it ends by itself after `lasts` seconds with `code`, is healthy after `healthy`, ill after `ill`."""

    lasts: float = math.inf
    code: int = 0
    healthy: float = 0.05
    ill: float = math.inf


@dataclass(frozen=True)
class Nature:
    """How a service behaves: so many failures to come up, then one life after the other; the last one repeats."""

    failures: int = 0
    lives: tuple[Life, ...] = (Life(),)


@dataclass
class Being:
    """A container and what its present life holds in store."""

    container: Container
    born: int = 0  # lives lived by this slot
    life: Life = Life()


@dataclass
class Toy:
    nodes: tuple[Node, ...] = (Node("n1", 1000.0, 1 << 50),)
    natures: Mapping[str, Nature] = field(default_factory=dict)  # by service
    now: float = 100.0
    beings: dict[str, Being] = field(default_factory=dict)  # by container name
    networks: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    deeds: list[tuple[float, Action]] = field(default_factory=list)  # under way: when it is done, what
    lived: dict[str, int] = field(default_factory=dict)  # by container name; a removed container's lives count on
    failed: dict[str, int] = field(default_factory=dict)
    done: frozenset[tuple[str, str, int, str]] = frozenset()
    ids: int = 0
    history: list[str] = field(default_factory=list)

    def world(self) -> World:
        return World(
            self.nodes,
            tuple(being.container for being in self.beings.values()),
            frozenset(self.networks),
            frozenset(self.volumes),
            frozenset(action.subject for _, action in self.deeds),
            dict(self.failures),
            done=self.done,
            making=frozenset(action.subject for _, action in self.deeds if isinstance(action, Start)),
        )

    # --- time

    def next_event(self) -> float:
        return min([at for at, _ in self.deeds] + [at for at, _, _ in self._fates()], default=math.inf)

    def advance(self, to: float) -> None:
        """Let time pass, and what is due happen in its order."""
        while (at := self.next_event()) <= to:
            self.now = max(self.now, at)
            due = [deed for deed in self.deeds if deed[0] <= at]
            for deed in due:
                self.deeds.remove(deed)
                self.do(deed[1])
            if not due:
                _, what, name = min(self._fates())
                self._meet(what, name)
        self.now = max(self.now, to)

    def _fates(self) -> Iterable[tuple[float, str, str]]:
        """What is in store for those who run: (when, what, who)."""
        for name, being in self.beings.items():
            container, life = being.container, being.life
            if container.phase != "running" or container.started is None:
                continue
            if life.lasts < math.inf:
                yield container.started + life.lasts, "end", name
            verdict = container.verdict
            if verdict and verdict.status == "starting" and life.healthy < life.ill:
                yield container.started + life.healthy, "healthy", name
            if verdict and verdict.status != "unhealthy" and life.ill < math.inf:
                yield container.started + life.ill, "unhealthy", name

    def _meet(self, what: str, name: str) -> None:
        container = self.beings[name].container
        if what == "end":
            self._end(name, self.beings[name].life.code, "exited")
        elif what == "healthy":
            self._become(name, verdict=Verdict("healthy", self.now))
        else:
            failing = Verdict("unhealthy", self.now, failing=3, last=Result(self.now, 1, "no route"))
            self._become(name, verdict=failing)
        self.history.append(f"{self.now:.3f} {container.name} {what}")

    # --- deeds

    def begin(self, action: Action, takes: float) -> None:
        if action.subject in {other.subject for _, other in self.deeds}:
            raise Broken(f"two deeds at once for {action.subject}")
        self.deeds.append((self.now + takes, action))
        self.history.append(f"{self.now:.3f} {action}")

    def crash(self, done: Iterable[bool]) -> None:
        """The agent dies: of the deeds under way, some were done and some were not."""
        deeds, self.deeds = self.deeds, []
        for (_, action), was_done in zip(deeds, done, strict=False):
            if was_done:
                self.do(action)
        self.history.append(f"{self.now:.3f} crash")

    def do(self, action: Action) -> None:
        match action:
            case MakeNetwork():
                self.networks.add(action.subject)
            case MakeVolume():
                self.volumes.add(action.subject)
            case DropNetwork():
                self._nobody_there(action.stack, action)
                self.networks.remove(action.subject)
            case DropVolume():
                self._nobody_there(action.stack, action)
                self.volumes.remove(action.subject)
            case Remove():
                if self.beings[action.subject].container.phase == "running":
                    raise Broken(f"{action} while it runs")
                del self.beings[action.subject]
            case Stop():
                if self.beings[action.subject].container.phase == "running":  # else it ended by itself meanwhile
                    self._end(action.subject, 143, "unhealthy" if action.failure else "asked")
            case Adjust():
                self._become(action.subject, bounds_off=None)
            case Prepare():
                replica = action.replica
                self.done = self.done | {(replica.stack, replica.service, 0, replica.digest)}
            case Reload():
                self._become(action.subject, reloaded=self.now)
            case Start():
                self._start(action)

    def _start(self, start: Start) -> None:
        name, service = start.subject, start.replica.definition
        if (start.container is None) != (name not in self.beings):
            raise Broken(f"{start}: made although it exists, or run again although it does not")
        version = f"{service.name}:{service.environment.get('V', '')}"  # a version may have a nature of its own
        nature = self.natures.get(version) or self.natures.get(service.name, Nature())
        if self.failed.get(name, 0) < nature.failures:
            self.failed[name] = self.failed.get(name, 0) + 1
            before = self.failures.get(name)
            self.failures[name] = Failure(before.count + 1 if before else 1, self.now, "cannot start: out of luck")
            return
        self.failures.pop(name, None)
        if start.container is None:
            self.ids += 1
            exits: tuple[Exit, ...] = ()
            identity = f"{self.ids:012x}"
        else:
            exits, identity = self.beings[name].container.exits, start.container
        lived = self.lived.get(name, 0)
        self.lived[name] = lived + 1
        life = nature.lives[min(lived, len(nature.lives) - 1)]
        container = Container(
            identity,
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
            exits,
            service_definition=service,
        )
        self.beings[name] = Being(container, lived, life)
        self._nobody_overfull()

    def _end(self, name: str, code: int, cause: str) -> None:
        container = self.beings[name].container
        exit = Exit(container.started or 0.0, self.now, code, None, cause)  # type: ignore[arg-type]
        self._become(name, phase="exited", verdict=None, exits=(*container.exits, exit)[-32:])

    def _become(self, name: str, **changes: object) -> None:
        being = self.beings[name]
        being.container = replace(being.container, **changes)  # type: ignore[arg-type]

    # --- rules

    def _nobody_there(self, stack: str, action: Action) -> None:
        there = [name for name, being in self.beings.items() if being.container.stack == stack]
        if there:
            raise Broken(f"{action} while {there} are there")

    def _nobody_overfull(self) -> None:
        for node in self.nodes:
            running = [b.container for b in self.beings.values() if b.container.phase == "running"]
            asked = [c.service_definition.reservations for c in running if c.node == node.name and c.service_definition]
            taken = Request(sum(one.cpus for one in asked), sum(one.memory for one in asked))
            if taken.cpus > node.cpus + 1e-6 or taken.memory > node.memory:
                raise Broken(f"{node.name} is over-full: {taken} of {node}")


def check_starts(plan: Plan, world: World, wanted: Sequence[Wanted]) -> None:
    """Nothing starts before what it needs is there, seen with plain eyes."""
    for start in (action for action in plan.actions if isinstance(action, Start)):
        stack = next(one for one in wanted if one.stack.name == start.replica.stack)
        service = start.replica.definition
        for key in service.networks:
            if stack.stack.networks[key].name not in world.networks:
                raise Broken(f"{start} without its network {key}")
        for needed, how in service.depends_on.items():
            if needed not in stack.active or not how.required:
                continue
            there = [c for c in world.containers if c.stack == stack.stack.name and c.service == needed]
            size = stack.scale.get(needed, stack.stack.services[needed].replicas)
            good = sum(_is(container, how.condition) for container in there)
            if good < size:
                raise Broken(f"{start} before {needed} is {how.condition}: {there}")


def _is(container: Container, condition: str) -> bool:
    match condition:
        case "healthy":
            return container.verdict is not None and container.verdict.status == "healthy"
        case "completed":
            return container.phase == "exited" and container.exits[-1].code == 0
        case _:
            return container.phase == "running" or bool(container.exits)


def play(
    toy: Toy,
    wanted: Sequence[Wanted],
    takes: Iterable[float],
    *,
    turns: int = 500,
    crashes: Iterable[int] = (),
    watch: Callable[[Toy], None] = lambda toy: None,
) -> Plan:
    """Turn the circle until nothing is left to do and nothing is to be expected; the last plan.

    `takes`: seconds that each deed needs, one after the other. `crashes`: numbers of the turns in which the agent dies.
    `watch` sees the world before each turn.
    """
    times, deadly = iter(takes), set(crashes)
    for turn in range(turns):
        watch(toy)
        world = toy.world()
        plan = reconcile(wanted, world, toy.now)
        if plan != reconcile(wanted, world, toy.now):
            raise Broken("the same world, another plan")
        check_starts(plan, world, wanted)
        for action in plan.actions:
            toy.begin(action, next(times, 0.01))
        if turn in deadly:
            toy.crash(bool((turn + n) % 2) for n in range(len(toy.deeds)))
            continue
        upcoming = min(toy.next_event(), plan.due if plan.due is not None else math.inf)
        if upcoming == math.inf:
            return plan
        toy.advance(max(upcoming, toy.now))
    raise Broken("it does not settle:\n" + "\n".join(toy.history[-40:]))
