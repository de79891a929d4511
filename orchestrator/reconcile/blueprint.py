"""What follows from a Stack alone, worked out once: its order, its digests, and who follows whose restarts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from orchestrator.reconcile.replica import Replica, digest, meaning, named
from orchestrator.stack.model import Service, Stack


class Blueprint:
    """`order`: services, dependencies first, else as in the file. `followers`: service → those with
    `depends_on: {service: {restart: true}}`. `jobs`: those that end, as their own word or their dependents' says."""

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


_KEPT = 64
_made: OrderedDict[int, Blueprint] = OrderedDict()


def blueprint(stack: Stack) -> Blueprint:
    """The blueprint of this very Stack object. The agent keeps a Stack from turn to turn, so identity is enough and
    free; the blueprint holds its Stack, so an id cannot come to mean another one."""
    found = _made.get(id(stack))
    if found is None:
        found = _made[id(stack)] = Blueprint(stack)
        if len(_made) > _KEPT:
            _made.popitem(last=False)
    else:
        _made.move_to_end(id(stack))
    return found
