"""The ports of the host that services publish: chosen once, written down, held by a socket while they are wanted."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

from orchestrator.agent.containers import Containers
from orchestrator.agent.store import Store
from orchestrator.errors import Conflict
from orchestrator.network import ports
from orchestrator.reconcile.world import Wanted
from orchestrator.stack.model import Port, Service

Held = tuple[str, int, str]  # host address, port, protocol


class HostPorts:
    """`store` remembers the ports that were chosen; a socket holds each that is published, so that nobody takes it."""

    def __init__(self, store: Store, containers: Containers) -> None:
        self._store = store
        self._containers = containers
        self._holders: dict[Held, socket.socket] = {}

    def held(self, port: Port, host_port: int) -> bool:
        return (port.host_ip, host_port, port.protocol) in self._holders

    def published(self, stack: str, service: Service) -> list[tuple[Port, int]]:
        """Each port of a service with the host port it has, once `hold` chose those that the file left open."""
        found = []
        for number, port in enumerate(service.ports):
            host_port = _fixed(port) or self._store.port(stack, service.name, _key(port, number))
            if host_port is not None:
                found.append((port, host_port))
        return found

    def hold(self, stack: str, service: Service) -> None:
        """Take the host ports of a service before it starts. Raises Conflict naming the owner of a taken one."""
        for number, port in enumerate(service.ports):
            if _fixed(port) is None and self._store.port(stack, service.name, key := _key(port, number)) is None:
                self._store.put_port(stack, service.name, key, self._choose(port))
        for port, host_port in self.published(stack, service):
            held = (port.host_ip, host_port, port.protocol)
            if held not in self._holders:
                self._holders[held] = ports.hold(*held)

    def _choose(self, port: Port) -> int:
        """A free port for one that leaves it open: any, or one of its range. Raises Conflict where all are taken."""
        if port.published is None or port.last is None:
            return ports.free_port(port.host_ip, port.protocol)
        taken = {number for _, number, protocol in self._holders if protocol == port.protocol}
        for number in range(port.published, port.last + 1):
            if number not in taken and ports.is_free(port.host_ip, number, port.protocol):
                return number
        shown = f"{port.host_ip}:{port.published}-{port.last}/{port.protocol}"
        raise Conflict(f"cannot publish {shown}: every port of the range is used already")

    def hold_again(self, wanted: Iterable[Wanted]) -> list[tuple[str, str, str]]:
        """After a new start of the agent: the ports of what runs; returns (stack, service, why) of each it lost."""
        lost = []
        here = [record for record in self._containers if record.phase == "running"]
        running = {(record.stack, record.name if record.one_off else record.service) for record in here}
        services = wanted_services(wanted) | {(r.stack, r.name): r.definition for r in here if r.one_off}
        for (stack, name), service in services.items():
            if (stack, name) in running:
                try:
                    self.hold(stack, service)
                except Conflict as error:
                    lost.append((stack, name, str(error)))
        return lost

    def release(self, published: set[Held], services: Mapping[tuple[str, str], Service]) -> None:
        """Let go of what is neither published nor wanted any more."""
        wanted = {(p.host_ip, n, p.protocol) for (s, _), svc in services.items() for p, n in self.published(s, svc)}
        for held in [held for held in self._holders if held not in published and held not in wanted]:
            self._holders.pop(held).close()


def _key(port: Port, number: int) -> str:
    span = f"/{port.published}-{port.last}" if port.last is not None else ""
    return f"{port.target}/{port.protocol}/{number}{span}"


def _fixed(port: Port) -> int | None:
    """The host port that the file names; None: one is chosen."""
    return port.published if port.last is None else None


def wanted_services(wanted: Iterable[Wanted]) -> dict[tuple[str, str], Service]:
    """Each service that somebody wants, by (stack, name)."""
    found = {}
    for wish in wanted:
        if not wish.down:
            for name, service in {**wish.orphans, **wish.stack.services}.items():
                if name in wish.active or name in wish.orphans:
                    found[wish.stack.name, name] = service
    return found
