"""How much of each node is reserved: by what runs, what will be back in a moment, and what this turn starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.reconcile.world import Container, Wanted, World
from orchestrator.scheduler.node import Node, Placed, Refused, Request
from orchestrator.scheduler.place import place
from orchestrator.stack.model import Service


class Room:
    """Counted at the first question of a turn: most turns ask none."""

    def __init__(self, world: World, wanted: Mapping[str, Wanted]) -> None:
        self._world = world
        self._wanted = wanted
        self._used: dict[str, Request] | None = None
        # By stack: whether a container that does not run keeps its room. Else what waits for room would slip in while
        # a replica is being replaced, or waits for its next start.
        self.claims: dict[str, Callable[[Container], bool]] = {}

    def find(
        self, request: Request, stays: Container | None = None, leaves: Container | None = None
    ) -> Placed | Refused:
        """A place for `request`. `stays`: an existing container runs where it is. `leaves`: its room counts as free."""
        used = self._count() if self._used is None else self._used
        if leaves is not None:
            taken, freed = used.get(leaves.node, Request()), self._reserved(leaves)
            used = {**used, leaves.node: Request(taken.cpus - freed.cpus, taken.memory - freed.memory)}
        nodes: tuple[Node, ...] = self._world.nodes
        if stays is not None:
            nodes = tuple(node for node in nodes if node.name == stays.node)
            if not nodes:
                return Refused(f"its node {stays.node} is gone")
        return place(request, nodes, used)

    def take(self, node: str, request: Request) -> None:
        used = self._count() if self._used is None else self._used
        taken = used.get(node, Request())
        used[node] = Request(taken.cpus + request.cpus, taken.memory + request.memory)

    def _count(self) -> dict[str, Request]:
        self._used = {}
        busy = set(self._world.busy)
        for container in self._world.containers:
            claims = self.claims.get(container.stack)
            if container.phase == "running" or container.name in busy or (claims and claims(container)):
                self.take(container.node, self._reserved(container))
            busy.discard(container.name)
        for name in busy:  # being created: nobody has seen yet on which node, so it counts on each
            request = self._reserved_by_name(name)
            for node in self._world.nodes if request else ():
                self.take(node.name, request or Request())
        return self._used

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
