"""The workbench of one turn: the world indexed once, and what has been decided so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.policy.restart import setback
from orchestrator.reconcile.plan import (
    Action,
    Adjust,
    DropNetwork,
    DropVolume,
    Hold,
    MakeNetwork,
    Plan,
    Remove,
    Start,
    Stop,
)
from orchestrator.reconcile.room import Room
from orchestrator.reconcile.world import Container, Wanted, World

if TYPE_CHECKING:
    from orchestrator.reconcile.scene import Scene

Line: TypeAlias = Action | Hold


class Turn:
    """`containers`: stack → service → slot → container."""

    def __init__(self, wanted: Sequence[Wanted], world: World, now: float) -> None:
        self.world = world
        self.now = now
        self.wanted = {one.stack.name: one for one in wanted}
        self.room = Room(world, self.wanted)
        self.holds: dict[str, Hold] = {}
        self.scenes: dict[str, Scene] = {}
        self.drained = frozenset(node.name for node in world.nodes if node.drained)
        self.containers: dict[str, dict[str, dict[int, Container]]] = {}
        for container in world.containers:
            services = self.containers.get(container.stack)
            if services is None:
                services = self.containers[container.stack] = {}
            slots = services.get(container.service)
            if slots is None:
                slots = services[container.service] = {}
            slots[container.slot] = container
        self.acted: dict[str, Action] = {}  # by subject

    def note(self, lines: Iterable[Line]) -> None:
        """Keep what a law says. Nothing is done to a subject with a deed under way, and one thing at a time: the next
        turn looks again."""
        for line in lines:
            if line.subject in self.world.busy or (line.subject in self.acted and not isinstance(line, Hold)):
                continue
            if isinstance(line, Adjust | MakeNetwork) and line.subject in self.world.futile:
                line = Hold(line.subject, f"{line.why}; {self.world.futile[line.subject]}", failed=True)
            if isinstance(line, Stop | Remove | DropNetwork | DropVolume):
                line = self._not_at_once(line)
            if isinstance(line, Hold):
                self.holds[line.subject] = line
                continue
            if isinstance(line, Start):
                self.room.take(line.node, line.replica.stack, line.replica.definition, line.replica.name)
            self.acted[line.subject] = line

    def _not_at_once(self, line: Line) -> Line:
        """What could not be taken away is tried again soon, but not in a mad circle. (Laws that bring something up
        wait longer each time; going away does not wait for how often coming up had failed.)"""
        failure = self.world.failures.get(line.subject)
        until = failure.at + setback(1) if failure else 0.0
        if failure is None or until <= self.now:
            return line
        return Hold(line.subject, f"{line.why}; {failure.why}", until, outlook="failing")

    def plan(self) -> Plan:
        return Plan(tuple(self.acted.values()), tuple(self.holds.values()))
