"""How much of each node is reserved: by what runs, what will be back in a moment, and what this turn starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.reconcile.world import Container, Wanted, World
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.node import Placed, Refused, Request
from orchestrator.scheduler.place import answer
from orchestrator.scheduler.refusal import refuse
from orchestrator.stack.model import Service


class Room:
    """Counted at the first question of a turn: most turns ask none."""

    def __init__(self, world: World, wanted: Mapping[str, Wanted]) -> None:
        self._world = world
        self._wanted = wanted
        self._fleet: Fleet | None = None
        # By stack: whether a container that does not run keeps its room. Else what waits for room would slip in while
        # a replica is being replaced, or waits for its next start.
        self.claims: dict[str, Callable[[Container], bool]] = {}

    @property
    def fleet(self) -> Fleet:
        return self._fleet or self._count()

    def find(
        self, request: Request, name: str, stays: Container | None = None, leaves: Container | None = None
    ) -> Placed | Refused:
        """A place for `request` of the replica `name`. `stays`: an existing container runs where it is. `leaves`: its
        room counts as free."""
        fleet = self.fleet
        if stays is not None and stays.node not in fleet.names:
            return Refused(f"its node {stays.node} is gone")
        left = fleet.drop(leaves.name) if leaves is not None and leaves.name in fleet.where else None
        try:
            if stays is not None:
                fits = fleet.fits(request, fleet.names[stays.node])
                return Placed(stays.node, "where it is") if fits else refuse(fleet, request, name, stays.node)
            return answer(fleet, request, name)
        finally:
            if left is not None and leaves is not None:
                fleet.put(left[0], fleet.nodes[left[1]].name, leaves.name)

    def take(self, node: str, request: Request, name: str) -> None:
        fleet = self.fleet
        if node in fleet.names and name not in fleet.where:
            fleet.put(request, node, name)

    def _count(self) -> Fleet:
        self._fleet = fleet = Fleet(self._world.nodes, self._expected())
        busy = set(self._world.busy)
        for container in self._world.containers:
            claims = self.claims.get(container.stack)
            if container.phase == "running" or container.name in busy or (claims and claims(container)):
                self.take(container.node, self._reserved(container), container.name)
            busy.discard(container.name)
        for name in busy:  # being created: nobody has seen yet on which node, so it counts on each
            request = self._reserved_by_name(name)
            for node in self._world.nodes if request else ():
                fleet.block(node.name, request.cpus, request.memory) if request else None
        return fleet

    def _expected(self) -> list[Request]:
        """What all that is wanted asks for: its mean tells which room on a node can be used."""
        return [
            service.reservations
            for wanted in self._wanted.values()
            for service in wanted.stack.services.values()
            for _ in range(wanted.scale.get(service.name, service.replicas))
        ]

    def _reserved(self, container: Container) -> Request:
        """As the file says now: reservations are no part of what a container is made from."""
        definition = self._definition(container.stack, container.service) or container.service_definition
        return definition.reservations if definition else Request()

    def _reserved_by_name(self, name: str) -> Request | None:
        for stack in self._wanted:
            if name.startswith(f"{stack}-"):
                definition = self._definition(stack, name[len(stack) + 1 :].rpartition("-")[0])
                if definition:
                    return definition.reservations
        return None

    def _definition(self, stack: str, service: str) -> Service | None:
        wanted = self._wanted.get(stack)
        return (wanted.stack.services.get(service) or wanted.orphans.get(service)) if wanted else None
