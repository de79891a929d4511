"""The workbench of one turn: the world indexed once, and what has been decided so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from orchestrator.reconcile.plan import Action, Hold, Plan, Start
from orchestrator.reconcile.room import Room
from orchestrator.reconcile.world import Container, Wanted, World

Line: TypeAlias = Action | Hold


class Turn:
    """`containers`: stack → service → slot → container."""

    def __init__(self, wanted: Sequence[Wanted], world: World, now: float) -> None:
        self.world = world
        self.now = now
        self.wanted = {one.stack.name: one for one in wanted}
        self.room = Room(world, self.wanted)
        self.holds: dict[str, Hold] = {}
        self.containers: dict[str, dict[str, dict[int, Container]]] = {}
        for container in world.containers:
            services = self.containers.get(container.stack)
            if services is None:
                services = self.containers[container.stack] = {}
            slots = services.get(container.service)
            if slots is None:
                slots = services[container.service] = {}
            slots[container.slot] = container
        self._actions: list[Action] = []

    def note(self, lines: Iterable[Line]) -> None:
        """Keep what a law says. Nothing is done to a subject with a deed under way: the next turn looks again."""
        for line in lines:
            if line.subject in self.world.busy:
                continue
            if isinstance(line, Hold):
                self.holds[line.subject] = line
                continue
            if isinstance(line, Start):
                self.room.take(line.node, line.replica.definition.reservations)
            self._actions.append(line)

    def plan(self) -> Plan:
        return Plan(tuple(self._actions), tuple(self.holds.values()))
