"""How much of each node is reserved: by what runs, what will be back in a moment, and what this turn starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set

from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.world import Container, Wanted, World
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.neighbours import NOWHERE
from orchestrator.scheduler.node import Placed, Refused, Request
from orchestrator.scheduler.place import decided, table
from orchestrator.scheduler.refusal import refuse
from orchestrator.stack.model import Service, Stack
from orchestrator.stack.placement import asked


class Room:
    """Counted at the first question of a turn: most turns ask none."""

    def __init__(self, world: World, wanted: Mapping[str, Wanted]) -> None:
        self._world = world
        self._wanted = wanted
        self._fleet: Fleet | None = None
        self._later: list[tuple[str, str, Service, str]] = []  # taken before anybody asked
        only = world.nodes[0] if len(world.nodes) == 1 else None
        self._alone = only.name if only and only.ready and not (only.drained or only.cordoned) else None
        self._sums: dict[str, tuple[float, int]] | None = None  # by stack: cores and bytes
        self._asked: dict[int, tuple[Service, Request]] = {}
        # By stack: whether a container that does not run keeps its room. Else what waits for room would slip in while
        # a replica is being replaced, or waits for its next start.
        self.claims: dict[str, Callable[[Container], bool]] = {}

    @property
    def fleet(self) -> Fleet:
        return self._fleet or self._count()

    def find(
        self,
        stack: str,
        service: Service,
        name: str,
        stays: Container | None = None,
        leaves: Container | None = None,
    ) -> Placed | Refused:
        """A place for the replica `name`. `stays`: an existing container runs where it is. `leaves`: its room counts as
        free."""
        here = stays is None or stays.node == self._alone
        plainly = self._fleet is None and not self._world.explained  # nobody counted yet, and nobody asks for scores
        if plainly and here and self._alone is not None and self._modest(stack, service):
            return Placed(self._alone, "the only node")
        fleet, request = self.fleet, self.asked(stack, service)
        if stays is not None and stays.node not in fleet.names:
            return Refused(f"its node {stays.node} is gone")
        left = fleet.drop(leaves.name) if leaves is not None and leaves.name in fleet.where else None
        try:
            if stays is not None:
                keeps = fleet.keeps(request, fleet.names[stays.node])
                return Placed(stays.node, "where it is") if keeps else refuse(fleet, request, name, stays.node)
            number, why = self._preferred(fleet, request, name)
            if number is None:
                number = fleet.pick(request)
            if number is None:
                return refuse(fleet, request, name)
            rows = table(fleet, request, number) if self._world.explained else ()
            return Placed(fleet.nodes[number].name, why or (decided(rows) if rows else ""), rows)
        finally:
            if left is not None and leaves is not None:
                fleet.put(left[0], fleet.nodes[left[1]].name, leaves.name)

    def _modest(self, stack: str, service: Service) -> bool:
        wanted = self._wanted.get(stack)
        return wanted is not None and blueprint(wanted.stack).modest(service)

    def _preferred(self, fleet: Fleet, request: Request, name: str) -> tuple[int | None, str]:
        """Where it was told to go, or lay last, and which of the two: things move as little as possible."""
        wishes = ((self._world.moves, "it was told to go there"), (self._world.homes, "it lay there before"))
        for wish, why in wishes:
            number = fleet.names.get(wish.get(name, ""))
            if number is not None and fleet.fits(request, number):
                return number, why
        return None, ""

    def reserved(self, stack: str) -> Request:
        """The cpus and memory that all replicas of a stack have reserved."""
        everyone = self.fleet.everyone()
        if self._sums is None:
            self._sums = {}
            for one in everyone:
                self._add(one.request)
        return Request(*self._sums.get(stack, (0.0, 0)))

    def _add(self, request: Request) -> None:
        if self._sums is not None:
            stack = request.service.partition("/")[0]
            cpus, memory = self._sums.get(stack, (0.0, 0))
            self._sums[stack] = (cpus + request.cpus, memory + request.memory)

    def priority(self, name: str) -> int:
        """Of a replica that has its room."""
        return self.fleet.occupants[self.fleet.where[name]][name].priority

    def take(self, node: str, stack: str, service: Service, name: str) -> None:
        if self._fleet is None:
            self._later.append((node, stack, service, name))
            return
        fleet = self._fleet
        if node in fleet.names and name not in fleet.where:
            request = self.asked(stack, service)
            fleet.put(request, node, name)
            self._add(request)

    def move(self, name: str, node: str, request: Request | None = None) -> None:
        """It has its room on `node` from now on, wherever it had it before."""
        fleet = self.fleet
        had = fleet.drop(name)[0] if name in fleet.where else None
        if asked_for := request or had:
            fleet.put(asked_for, node, name)

    def asked(self, stack: str, service: Service) -> Request:
        """What a replica asks for; worked out once a turn for each definition."""
        found = self._asked.get(id(service))
        if found is None:
            wanted = self._wanted.get(stack)
            request = (
                blueprint(wanted.stack).request(service)
                if wanted is not None
                else asked(service, Stack(stack, "/", (), {}))
            )
            found = self._asked[id(service)] = (service, request)
        return found[1]

    def _count(self) -> Fleet:
        self._fleet = fleet = Fleet(self._world.nodes, self._expected())
        for volume, home in self._world.volume_nodes.items():
            fleet.volumes[volume] = fleet.names.get(home, NOWHERE)
        busy = set(self._world.busy)
        drained = {node.name for node in self._world.nodes if node.drained}
        leaving: list[Container] = []
        for container in self._world.containers:
            if self._leaves(container, drained):
                leaving.append(container)
                busy.discard(container.name)
                continue
            claims = self.claims.get(container.stack)
            if container.phase == "running" or container.name in busy or (claims and claims(container)):
                service = self._definition(container.stack, container.service) or container.service_definition
                if service is not None:
                    self.take(container.node, container.stack, service, container.name)
            busy.discard(container.name)
        self._keep_for(leaving)
        for name in busy:  # being created: nobody has seen yet on which node, so it counts on each
            stack, service = self._named(name)
            request = self.asked(stack, service) if service is not None else Request()
            if request.cpus or request.memory:
                for node in self._world.nodes:
                    fleet.block(node.name, request.cpus, request.memory)
        for taken in self._later:
            self.take(*taken)
        return fleet

    def _leaves(self, container: Container, drained: Set[str]) -> bool:
        """It is being stopped because it must move, or has been: its room is where it goes."""
        must = container.node in drained or container.name in self._world.moves
        moved = container.phase == "exited" and container.exits and container.exits[-1].cause == "moved"
        return must and bool(moved or (container.phase == "running" and container.name in self._world.busy))

    def _keep_for(self, leaving: Sequence[Container]) -> None:
        """Else what is less important, and has made room for them, would come back before they are there."""
        found = ((self._definition(one.stack, one.service) or one.service_definition, one) for one in leaving)
        asking = [(self.asked(one.stack, service), one) for service, one in found if service is not None]
        for request, one in sorted(asking, key=lambda pair: (-pair[0].priority, pair[1].name)):
            fleet = self.fleet
            target = fleet.names.get(self._world.moves.get(one.name, ""))
            number = target if target is not None and fleet.fits(request, target) else fleet.pick(request)
            if number is not None:
                fleet.put(request, fleet.nodes[number].name, one.name)
                self._add(request)

    def _expected(self) -> Iterator[tuple[Request, int]]:
        """What all that is wanted asks for, and how often: its mean tells which room on a node can be used."""
        for name, wanted in self._wanted.items():
            for service in wanted.stack.services.values():
                yield self.asked(name, service), wanted.scale.get(service.name, service.replicas)

    def _named(self, name: str) -> tuple[str, Service | None]:
        """The stack and service of a container's name."""
        for stack in self._wanted:
            if name.startswith(f"{stack}-"):
                definition = self._definition(stack, name[len(stack) + 1 :].rpartition("-")[0])
                if definition:
                    return stack, definition
        return "", None

    def _definition(self, stack: str, service: str) -> Service | None:
        """As the file says now: reservations are no part of what a container is made from."""
        wanted = self._wanted.get(stack)
        return (wanted.stack.services.get(service) or wanted.orphans.get(service)) if wanted else None
