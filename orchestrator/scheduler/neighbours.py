"""What lies where besides room: replicas of each service, host ports, devices, processes, volumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.scheduler.filters import holds, lacks, value_of
from orchestrator.scheduler.node import HostPort, Node, Request
from orchestrator.scheduler.want import SPREAD_WEIGHT, Domain, Want

NOWHERE = -1  # a volume lies on a node that is not there


class Neighbours:
    """`nodes` by their numbers. `volumes`: where each lies, by the number of its node; the first to use it decides."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self.volumes: dict[str, int] = {}
        self._groups: dict[str, dict[int, int]] = {}  # service → node → replicas
        self._spreads: dict[str, dict[str, Counter[str]]] = {}  # service → label → value → replicas
        self._ports: dict[tuple[int, str], dict[int, list[tuple[HostPort, str]]]] = {}
        self._pids: dict[int, int] = {}
        self._devices: dict[str, dict[int, int]] = {}  # kind → node → how many
        self._by_name: dict[str, set[int]] = {}

    def group(self, service: str) -> Mapping[int, int]:
        """The nodes with replicas of a service, and how many."""
        return self._groups.get(service, {})

    def add(self, asked: Want, node: int) -> None:
        request = asked.request
        self._count(request, node, 1)
        if asked.particular:
            for volume in request.volumes:
                self.volumes.setdefault(volume, node)
            for port in request.ports:
                held = self._ports.setdefault((port.port, port.protocol), {}).setdefault(node, [])
                held.append((port, request.service))
            self._reserve(request, node, 1)

    def take(self, asked: Want, node: int) -> None:
        request = asked.request
        self._count(request, node, -1)
        if asked.particular:
            for port in request.ports:
                self._ports[port.port, port.protocol][node].remove((port, request.service))
            self._reserve(request, node, -1)

    def _count(self, request: Request, node: int, change: int) -> None:
        if request.service:
            group = self._groups.setdefault(request.service, {})
            group[node] = group.get(node, 0) + change
            if not group[node]:
                del group[node]
            for key, found in self._spreads.get(request.service, {}).items():
                found[value_of(key, self._nodes[node]) or ""] += change

    def _reserve(self, request: Request, node: int, sign: int) -> None:
        self._pids[node] = self._pids.get(node, 0) + sign * request.pids
        for device, count in request.devices:
            taken = self._devices.setdefault(device, {})
            taken[node] = taken.get(node, 0) + sign * count

    # what it means for a request

    def named(self, asked: Want) -> tuple[set[int] | None, set[int]]:
        """(the only nodes that can take it, None: any; nodes that its wishes speak of)."""
        pinned = {self.volumes[volume] for volume in asked.request.volumes if volume in self.volumes}
        sets = [{node for node in pinned if node != NOWHERE}] if pinned else []
        sets += [set(self.group(one.service)) for one in asked.musts if one.weight >= 0]
        sets += [self._called(one.value) for one in asked.names if one.equal]
        near = set().union(*(self.group(one.service) for one in asked.wishes))
        return (set.intersection(*sets) if sets else None), near

    def wishes(self, asked: Want, node: int) -> int:
        """The weights of its affinities to services that are on the node."""
        return sum(one.weight for one in asked.wishes if node in self.group(one.service))

    def against(self, asked: Want, domain: Domain) -> float:
        """How many replicas of the service lie where the spread labels have the same values, less the label wishes.

        The first preference counts before the second, as in Swarm.
        """
        against, request = float(-domain.bonus), asked.request
        if request.spread:
            counts = self._spread(request)
            for place, (key, value) in enumerate(zip(request.spread, domain.values, strict=True)):
                against += SPREAD_WEIGHT * counts[key][value] / 1000.0**place
        return against

    def _spread(self, request: Request) -> dict[str, Counter[str]]:
        counts = self._spreads.get(request.service)
        if counts is None or counts.keys() != set(request.spread):
            counts = self._spreads[request.service] = {key: Counter() for key in request.spread}
            for node, count in self.group(request.service).items():
                for key, found in counts.items():
                    found[value_of(key, self._nodes[node]) or ""] += count
        return counts

    def shut(self, asked: Want, node: int) -> bool:
        """Whether something besides its class and its room rules the node out for a particular request."""
        request, there = asked.request, self._nodes[node]
        if request.per_node and self.group(request.service).get(node, 0) >= request.per_node:
            return True
        if any((node in self.group(one.service)) != (one.weight >= 0) for one in asked.musts):
            return True
        for port in request.ports:
            others = self._ports.get((port.port, port.protocol), {}).get(node, ())
            if any(port.clashes(other) and (not owner or owner != request.service) for other, owner in others):
                return True
        if any(self.volumes.get(volume, node) != node for volume in request.volumes):
            return True
        for kind, count in request.devices:
            if lacks(count, there.devices.get(kind, 0), self._devices.get(kind, {}).get(node, 0)):
                return True
        if request.pids and there.pids and self._pids.get(node, 0) + request.pids > there.pids:
            return True
        return not all(holds(one, there) for one in asked.names)

    def out(self, asked: Want) -> set[int]:
        """All nodes that are passed over, but for those that `named` leaves out: from what lies there, not node by
        node."""
        request = asked.request
        found = {node for node, count in self.group(request.service).items() if 0 < request.per_node <= count}
        for one in (*asked.musts, *asked.wishes):
            if one.weight < 0:
                found |= self.group(one.service).keys()
        for port in request.ports:
            for node, others in self._ports.get((port.port, port.protocol), {}).items():
                if any(port.clashes(other) and (not owner or owner != request.service) for other, owner in others):
                    found.add(node)
        for kind, count in request.devices:
            taken = self._devices.get(kind, {}).items()
            found |= {node for node, some in taken if lacks(count, self._nodes[node].devices.get(kind, 0), some)}
        for node, some in self._pids.items() if request.pids else ():
            if 0 < self._nodes[node].pids < some + request.pids:
                found.add(node)
        return found.union(*(self._called(one.value) for one in asked.names if not one.equal))

    def _called(self, name: str) -> set[int]:
        """Names are compared without regard to case, as all values of constraints are."""
        if not self._by_name:
            for number, node in enumerate(self._nodes):
                self._by_name.setdefault(node.name.lower(), set()).add(number)
        return self._by_name.get(name.lower(), set())

    def passed_over(self, asked: Want, node: int) -> bool:
        """Shut, or looked at by itself because the request would rather not be there."""
        unloved = any(one.weight < 0 and node in self.group(one.service) for one in asked.wishes)
        return unloved or self.shut(asked, node)
