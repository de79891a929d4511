"""What follows from a Stack alone, worked out once: its order, its digests, and who follows whose restarts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from orchestrator.reconcile.replica import Replica, digest, meaning, named
from orchestrator.scheduler.node import PRIORITY, Request
from orchestrator.stack.model import Healing, Network, OnChange, Service, Stack, Volume
from orchestrator.stack.placement import asked


class Blueprint:
    """`order`: services, dependencies first, else as in the file. `followers`: service → those with
    `depends_on: {service: {restart: true}}`. `jobs`: those that end, as their own word or their dependents' says.
    `plain`: those that nothing but their own definition moves: no restarts of others, no contents, no drift to be told.
    `ground`: the stack's networks and volumes that each service stands on. `priorities`: more than one is written."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.order = dependency_order(stack.services)
        self.meanings = {name: meaning(service, stack) for name, service in stack.services.items()}
        self.digests = {name: digest(made) for name, made in self.meanings.items()}
        self.followers: dict[str, list[str]] = {}
        self.leaders: dict[str, list[str]] = {}
        for name in self.order:
            for needed, how in stack.services[name].depends_on.items():
                if how.restart:
                    self.followers.setdefault(needed, []).append(name)
                    self.leaders.setdefault(name, []).append(needed)
        waits = (item for one in stack.services.values() for item in one.depends_on.items())
        awaited = {name for name, how in waits if how.condition == "completed"}
        self.jobs = frozenset(n for n, one in stack.services.items() if one.job or (n in awaited and one.restart.ends))
        self.ground = {name: tuple(_used(service, stack)) for name, service in stack.services.items()}
        self.priorities = len({one.placement.priority for one in stack.services.values()}) > 1
        self.everywhere = tuple(one for one in stack.services.values() if one.placement.everywhere)
        self.atomic = stack.atomic
        self.plain = frozenset(
            name
            for name, one in stack.services.items()
            if name not in self.leaders and one.healing == Healing() and one.on_change == OnChange()
        )
        self._requests: dict[str, tuple[Service, Request, bool]] = {}
        self._replicas: dict[tuple[str, int], Replica] = {}

    def replica(self, service: Service, slot: int) -> Replica:
        made = self._replicas.get((service.name, slot))
        if made is None or made.definition is not service:
            stack = self.stack.name
            text = self.meanings.get(service.name) or meaning(service, self.stack)
            code = self.digests.get(service.name) or digest(text)
            made = Replica(stack, service.name, slot, named(stack, service, slot), code, text, service)
            self._replicas[service.name, slot] = made
        return made

    def request(self, service: Service) -> Request:
        """What one replica of it asks of its node."""
        return self._asked(service)[1]

    def modest(self, service: Service) -> bool:
        """It asks nothing of its node: it fits on any that takes replicas at all."""
        return self._asked(service)[2]

    def _asked(self, service: Service) -> tuple[Service, Request, bool]:
        found = self._requests.get(service.name)
        if found is None or found[0] is not service:
            request = asked(service, self.stack)
            modest = replace(request, service="", priority=PRIORITY) == Request()
            found = self._requests[service.name] = (service, request, modest)
        return found

    def used(self, service: Service) -> tuple[Network | Volume, ...]:
        """The stack's networks and volumes that a service (of this or an earlier revision) stands on."""
        if self.stack.services.get(service.name) is service:
            return self.ground[service.name]
        return tuple(_used(service, self.stack))


def _used(service: Service, stack: Stack) -> Iterator[Network | Volume]:
    yield from (stack.networks[key] for key in service.networks if key in stack.networks)
    sources = (mount.source for mount in service.mounts if mount.kind == "volume")
    yield from (stack.volumes[key] for key in sources if key and key in stack.volumes)


def dependency_order(services: Mapping[str, Service]) -> tuple[str, ...]:
    """Names of `services`, each after what it depends on, ties in the file's order. `stack` has refused cycles."""
    order: dict[str, None] = {}
    entered: set[str] = set()

    def visit(names: Iterable[str]) -> None:
        for name in names:
            if name in services and name not in entered:
                entered.add(name)
                visit(services[name].depends_on)
                order[name] = None

    visit(services)
    return tuple(order)


def blueprint(stack: Stack) -> Blueprint:
    """The blueprint of this very Stack object, kept with it: the agent keeps a Stack from turn to turn."""
    found: Blueprint | None = stack.derived.get("blueprint")
    if found is None:
        found = stack.derived["blueprint"] = Blueprint(stack)
    return found
