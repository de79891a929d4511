"""What must hold between the services of a stack, once each of them has been understood."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from orchestrator import units
from orchestrator.stack.context import Context
from orchestrator.stack.model import Network, Port, Service
from orchestrator.stack.placement import neighbours
from orchestrator.stack.places import Path

WITHOUT_CHECK = ("host:/", "dir:/")  # images of these kinds carry no health check of their own


def check(
    context: Context,
    services: Mapping[str, Service],
    published: Iterable[tuple[str, Port, Path]],
    networks: Mapping[str, Network],
) -> None:
    """Complain about what cannot be done here (`sound` has looked at what no Compose tool could do). `published`:
    (service, port, where)."""
    for name, service in services.items():
        dependencies(context, service, services)
        resources(context, service, ("services", name, "deploy", "resources", "reservations"))
        neighbours(context, service, services)
        jobs(context, service)
        ports(context, service)
    host_ports(context, published)
    addresses(context, services, networks)


def dependencies(context: Context, service: Service, services: Mapping[str, Service]) -> None:
    for need, dependency in service.depends_on.items():
        path = ("services", service.name, "depends_on", need)
        if need in services:
            needed = services[need]
            blind = needed.healthcheck_disabled or needed.image.startswith(WITHOUT_CHECK)
            spoilt = ("services", need, "healthcheck") in {broken[:3] for broken in context.complaints.broken}
            if dependency.condition == "healthy" and not needed.checked and blind and not spoilt:
                context.complain(path, f"waits for '{need}' to be healthy, but '{need}' has no healthcheck", key=True)


def ports(context: Context, service: Service) -> None:
    """Ports of a network namespace that is not the service's own."""
    path, kind = ("services", service.name, "ports"), (service.network_mode or "").partition(":")[0]
    if service.ports and kind == "host":
        context.complaints.warn(
            context.marks, path, "says nothing with network_mode: host: every port is the host's own"
        )
    elif service.ports and kind in ("none", "service", "container"):
        context.complain(path, f"cannot be published with network_mode: {service.network_mode}", key=True)


def resources(context: Context, service: Service, path: Path) -> None:
    asked, limit = service.reservations, service.limits
    if limit.memory is not None and asked.memory > limit.memory:
        sizes = f"{units.human_bytes(asked.memory)} above the limit of {units.human_bytes(limit.memory)}"
        context.complain((*path, "memory"), f"reserves {sizes}")
    if limit.cpus is not None and asked.cpus > limit.cpus:
        cores = f"{units.human_cpus(asked.cpus)} cpus above the limit of {units.human_cpus(limit.cpus)}"
        context.complain((*path, "cpus"), f"reserves {cores}")


def jobs(context: Context, service: Service) -> None:
    """A program that is to end is not started again because it ended."""
    if service.placement.job and service.restart.condition in ("always", "unless-stopped"):
        policy = f"a job ends, but its restart policy is {service.restart.condition!r}; write on-failure, or none"
        context.complain(("services", service.name, "deploy", "mode"), policy)


def host_ports(context: Context, published: Iterable[tuple[str, Port, Path]]) -> None:
    """No two may ask for the same address, port and protocol of the host; 0.0.0.0 is every address."""
    taken: dict[tuple[int, str], list[tuple[str, str, Path]]] = {}
    for _, port, path in published:
        if port.published is None or port.last is not None:
            continue  # whichever is free is chosen when it starts
        others = taken.setdefault((port.published, port.protocol), [])
        for address, other, place in others:
            if _overlap(address, port.host_ip):
                line = context.marks[place][1].start_mark.line + 1
                shown = f"{port.host_ip}:{port.published}/{port.protocol}"
                context.complain(path, f"cannot publish {shown}: {other} on line {line} publishes it already")
                break
        others.append((port.host_ip, ".".join(map(str, path[:2])), path))


def _overlap(one: str, other: str) -> bool:
    everywhere = {one, other} & {"0.0.0.0", "::"} and (":" in one) == (":" in other)
    return one == other or bool(everywhere)


def addresses(context: Context, services: Mapping[str, Service], networks: Mapping[str, Network]) -> None:
    """A fixed address lies in its network's written subnet, belongs to one container, and to one service."""
    taken: dict[tuple[str, str], str] = {}
    for service in services.values():
        for key, attachment in service.networks.items():
            sixth(context, service, networks.get(key), key)
            if (address := attachment.ipv4_address) is None:
                continue
            path = ("services", service.name, "networks", key, "ipv4_address")
            if service.replicas > 1:
                context.complain(path, f"one fixed address cannot serve {service.replicas} replicas")
            network = networks.get(key)
            if network and not network.external:
                if network.subnet is None:
                    context.complain(path, f"a fixed address needs a subnet: write networks.{key}.ipam.config")
                elif ipaddress.IPv4Address(address) not in ipaddress.IPv4Network(network.subnet):
                    context.complain(path, f"{address} is not in the subnet {network.subnet} of network '{key}'")
                elif address == network.gateway:
                    context.complain(path, f"{address} is the gateway of network '{key}'")
            if (other := taken.setdefault((key, address), service.name)) != service.name:
                context.complain(path, f"{address} belongs to service '{other}' already")


def sixth(context: Context, service: Service, network: Network | None, key: str) -> None:
    """A fixed IPv6 address lies in a network that has IPv6, and in its written subnet."""
    address, path = service.networks[key].ipv6_address, ("services", service.name, "networks", key, "ipv6_address")
    if address is None or network is None or network.external:
        return
    if service.replicas > 1:
        context.complain(path, f"one fixed address cannot serve {service.replicas} replicas")
    if network.subnet6 is None:
        context.complain(path, f"a fixed address needs enable_ipv6 and a subnet: write networks.{key}.ipam.config")
    elif ipaddress.IPv6Address(address) not in ipaddress.IPv6Network(network.subnet6):
        context.complain(path, f"{address} is not in the subnet {network.subnet6} of network '{key}'")
