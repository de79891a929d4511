"""The toy world: the one fake runtime, in memory, with a clock in hand.

It does what a plan says, deed by deed, each taking its time; what runs lives by its service's `Nature`. Time jumps from
one event to the next. A deed that cannot be done (two at once, a removal of what runs) is `Broken`: the plan was wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from orchestrator.health.check import Result, Verdict
from orchestrator.policy.restart import Exit
from orchestrator.reconcile.plan import (
    Action,
    Adjust,
    DropNetwork,
    DropVolume,
    MakeNetwork,
    MakeVolume,
    Prepare,
    Reload,
    Remove,
    Renew,
    Start,
    Stop,
)
from orchestrator.reconcile.world import Container, Failure, World
from orchestrator.scheduler.node import Node, Request
from orchestrator.stack.model import Service

NOTHING = (math.inf, "")  # a fate: when, and what


class Broken(AssertionError):
    """A plan broke a rule of the house."""


@dataclass(frozen=True)
class Life:
    """One run: it ends by itself after `lasts` seconds with `code`, is healthy after `healthy`, ill after `ill`."""

    lasts: float = math.inf
    code: int = 0
    healthy: float = 0.05
    ill: float = math.inf
    oom: bool = False


@dataclass(frozen=True)
class Nature:
    """How a service behaves: so many failures to come up, then one life after the other; the last one repeats."""

    failures: int = 0
    lives: tuple[Life, ...] = (Life(),)


GOOD = Nature()


@dataclass
class Being:
    """A container, what its present life holds in store, and what of that comes next."""

    container: Container
    life: Life = Life()
    fate: tuple[float, str] = NOTHING


@dataclass
class Toy:
    """`natures`: by service, or by "service:V" for one version of it. `given`: what configs say, by service, as the
    agent writes it into a container that is made. All times are seconds."""

    nodes: tuple[Node, ...] = (Node("n1", 1000.0, 1 << 50),)
    natures: Mapping[str, Nature] = field(default_factory=dict)
    now: float = 100.0
    beings: dict[str, Being] = field(default_factory=dict)  # by container name
    networks: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    deeds: list[tuple[float, Action]] = field(default_factory=list)  # under way: when it is done, what
    lived: dict[str, int] = field(default_factory=dict)  # by container name; a removed container's lives count on
    failed: dict[str, int] = field(default_factory=dict)
    done: frozenset[tuple[str, str, int, str]] = frozenset()
    homes: dict[str, str] = field(default_factory=dict)  # volume → the node it lies on: where it was first used
    broken: dict[str, str] = field(default_factory=dict)  # network → what somebody has done to it
    slept: float = 0.0
    given: Callable[[Service], Mapping[str, str]] = lambda service: {}
    ids: int = 0
    history: list[tuple[float, object]] = field(default_factory=list)  # when, what

    def world(self) -> World:
        return World(
            self.nodes,
            tuple([being.container for being in self.beings.values()]),
            frozenset(self.networks),
            frozenset(self.volumes),
            frozenset([action.subject for _, action in self.deeds]),
            dict(self.failures),
            self.done,
            making=frozenset([action.subject for _, action in self.deeds if isinstance(action, Start)]),
            volume_nodes=dict(self.homes),
            slept=self.slept,
            broken=dict(self.broken),
        )

    def say(self, *what: str) -> None:
        self.history.append((self.now, " ".join(what)))

    def told(self, lines: int) -> str:
        """The last lines of the history."""
        return "\n".join(f"{at:.3f} {what}" for at, what in self.history[-lines:])

    # --- time

    def next_event(self) -> float:
        """When something happens by itself; infinity: never."""
        soonest = min([at for at, _ in self.deeds], default=math.inf)
        for being in self.beings.values():
            if being.fate[0] < soonest:
                soonest = being.fate[0]
        return soonest

    def advance(self, to: float) -> None:
        """Let time pass, and what is due happen in its order."""
        while (at := self.next_event()) <= to:
            self.now = max(self.now, at)
            due = [deed for deed in self.deeds if deed[0] <= at]
            for deed in due:
                self.deeds.remove(deed)
                self.do(deed[1])
            if not due:
                _, what, name = min((*being.fate, name) for name, being in self.beings.items())
                self._meet(what, name)
        self.now = max(self.now, to)

    def _meet(self, what: str, name: str) -> None:
        life = self.beings[name].life
        self.say(name, what)
        if what == "end":
            self.end(name, life.code, "oom" if life.oom else "exited")
        elif what == "healthy":
            self.become(name, verdict=Verdict("healthy", self.now))
        else:
            self.sicken(name)

    # --- what befalls who runs

    def end(
        self, name: str, code: int, cause: Literal["exited", "oom", "unhealthy", "asked", "moved", "stopped"]
    ) -> None:
        container = self.beings[name].container
        exit = Exit(container.started or 0.0, self.now, code, 9 if code == 137 else None, cause)
        self.become(name, phase="exited", verdict=None, exits=(*container.exits, exit)[-32:])

    def sicken(self, name: str) -> None:
        self.become(name, verdict=Verdict("unhealthy", self.now, 3, 3, Result(self.now, 1, "no route")))

    def become(self, name: str, **changes: object) -> None:
        being = self.beings[name]
        being.container = replace(being.container, **changes)  # type: ignore[arg-type]
        being.fate = _fate(being)

    # --- deeds

    def begin(self, action: Action, takes: float) -> None:
        if action.subject in [other.subject for _, other in self.deeds]:
            raise Broken(f"two deeds at once for {action.subject}")
        self.deeds.append((self.now + takes, action))
        if isinstance(action, Start):
            for mount in action.replica.definition.mounts:
                self.homes.setdefault(f"{action.replica.stack}_{mount.source}", action.node)
        self.history.append((self.now, action))

    def crash(self, done: Iterable[bool]) -> None:
        """The agent dies: of the deeds under way, some were done and some were not."""
        deeds, self.deeds = self.deeds, []
        for (_, action), was_done in zip(deeds, done, strict=False):
            if was_done:
                self.do(action)
        self.say("crash")

    def do(self, action: Action) -> None:
        subject = action.subject
        match action:
            case MakeNetwork():
                self.networks.add(subject)
                self.broken.pop(subject, None)
            case MakeVolume():
                self.volumes.add(subject)
            case DropNetwork():
                self._nobody_there(action.stack, action)
                self.networks.remove(subject)
            case DropVolume():
                self._nobody_there(action.stack, action, mounted=True)
                self.volumes.remove(subject)
                self.homes.pop(subject, None)
            case Remove():
                if self.beings[subject].container.phase == "running":
                    raise Broken(f"{action} while it runs")
                del self.beings[subject]
            case Stop():
                if self.beings[subject].container.phase == "running":  # else it ended by itself meanwhile
                    self.end(subject, 143, "unhealthy" if action.failure else "moved" if action.moved else "asked")
            case Adjust():
                there = self.beings[subject].container.drifted
                left = {kind: why for kind, why in there.items() if kind not in action.kinds}
                self.become(subject, bounds_off=None, drifted=left)
            case Prepare():
                self._prepare(action)
            case Reload():
                self.become(subject, reloaded=self.now)
            case Renew():
                self._renew(action)
            case Start():
                self._start(action)

    def _prepare(self, prepare: Prepare) -> None:
        replica = prepare.replica
        if not self._out_of_luck(prepare.subject, self.natures.get(replica.service, GOOD)):
            self.note_done(replica.stack, replica.service, 0, replica.digest)

    def note_done(self, stack: str, service: str, slot: int, digest: str) -> None:
        """A job or a hook has done its work; of older versions that is forgotten."""
        others = [job for job in self.done if job[:3] != (stack, service, slot)]
        self.done = frozenset([*others, (stack, service, slot, digest)])

    def _renew(self, renew: Renew) -> None:
        container = self.beings[renew.subject].container
        if container.service_definition is not None:
            contents = {**container.contents, **self.given(container.service_definition)}
            self.become(renew.subject, contents=contents, reloaded=self.now)

    def _out_of_luck(self, name: str, nature: Nature) -> bool:
        """It fails to come up, as often as its nature wants."""
        if self.failed.get(name, 0) >= nature.failures:
            self.failures.pop(name, None)
            return False
        self.failed[name] = self.failed.get(name, 0) + 1
        before = self.failures.get(name)
        self.failures[name] = Failure(before.count + 1 if before else 1, self.now, "cannot start: out of luck")
        return True

    def _start(self, start: Start) -> None:
        name, replica, service = start.subject, start.replica, start.replica.definition
        if (start.container is None) != (name not in self.beings):
            raise Broken(f"{start}: made although it exists, or run again although it does not")
        version = f"{service.name}:{service.environment.get('V', '')}"  # a version may have a nature of its own
        nature = self.natures.get(version) or self.natures.get(service.name, GOOD)
        if self._out_of_luck(name, nature):
            return
        if start.container is None:
            self.ids += 1
            exits: tuple[Exit, ...] = ()
            identity = f"{self.ids:012x}"
        else:
            exits, identity = self.beings[name].container.exits, start.container
        lived = self.lived.get(name, 0)
        self.lived[name] = lived + 1
        container = Container(
            identity,
            name,
            replica.stack,
            service.name,
            replica.slot,
            replica.digest,
            start.node,
            "running",
            replica.meaning,
            self.now,
            Verdict("starting", self.now) if service.healthcheck else None,
            exits,
            contents=self.given(service),
            service_definition=service,
        )
        being = self.beings[name] = Being(container, nature.lives[min(lived, len(nature.lives) - 1)])
        being.fate = _fate(being)
        if service.reservations != Request():
            self._nobody_overfull(start.node)

    # --- rules

    def _nobody_there(self, stack: str, action: Action, mounted: bool = False) -> None:
        """`mounted`: who mounts no volume may be there, for it can have come while the volume was on its way out."""
        mine = [being.container for being in self.beings.values() if being.container.stack == stack]
        there = [one.name for one in mine if not mounted or (one.service_definition and one.service_definition.mounts)]
        if there:
            raise Broken(f"{action} while {there} are there")

    def _nobody_overfull(self, node_name: str) -> None:
        node = next(one for one in self.nodes if one.name == node_name)
        running = [b.container for b in self.beings.values() if b.container.phase == "running"]
        asked = [c.service_definition.reservations for c in running if c.node == node_name and c.service_definition]
        taken = Request(sum(one.cpus for one in asked), sum(one.memory for one in asked))
        if taken.cpus > node.cpus + 1e-6 or taken.memory > node.memory:
            raise Broken(f"{node.name} is over-full: {taken} of {node}")


def _fate(being: Being) -> tuple[float, str]:
    """What is next in store for who runs."""
    container, life, verdict = being.container, being.life, being.container.verdict
    if container.phase != "running" or container.started is None:
        return NOTHING
    found = (container.started + life.lasts, "end")
    if verdict is not None:
        if verdict.status == "starting" and life.healthy < life.ill:
            found = min(found, (container.started + life.healthy, "healthy"))
        if verdict.status != "unhealthy":
            found = min(found, (container.started + life.ill, "unhealthy"))
    return found
