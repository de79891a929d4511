"""What must hold between the services of a stack, once each of them has been understood."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator import units
from orchestrator.stack import grants, graph
from orchestrator.stack.context import Context
from orchestrator.stack.model import Network, Port, Service
from orchestrator.stack.networks import BRIDGE
from orchestrator.stack.places import Path, did_you_mean

WITHOUT_CHECK = ("host:/", "dir:/")  # images of these kinds carry no health check of their own


def check(
    context: Context,
    services: Mapping[str, Service],
    published: Iterable[tuple[str, Port, Path]],
    written: Mapping[str, Any],
    networks: Mapping[str, Network],
) -> None:
    """Complain about every contradiction. `written`: the merged file; `published`: (service, port, where)."""
    for name, service in services.items():
        dependencies(context, service, services, written)
        resources(context, service, ("services", name, "deploy", "resources", "reservations"))
        places(context, service, written)
        ports(context, service)
        lenders(context, service, services)
        grants.check(context, service, written)
    container_names(context, services)
    circle(context, services)
    host_ports(context, published)
    addresses(context, services, networks)


def dependencies(
    context: Context, service: Service, services: Mapping[str, Service], written: Mapping[str, Any]
) -> None:
    for need, dependency in service.depends_on.items():
        path = ("services", service.name, "depends_on", need)
        if need in services:
            needed = services[need]
            blind = needed.healthcheck_disabled or needed.image.startswith(WITHOUT_CHECK)
            spoilt = ("services", need, "healthcheck") in {broken[:3] for broken in context.complaints.broken}
            if dependency.condition == "healthy" and not needed.checked and blind and not spoilt:
                context.complain(path, f"waits for '{need}' to be healthy, but '{need}' has no healthcheck", key=True)
        elif need in written["services"]:
            if dependency.required:
                profiles = ", ".join(map(str, written["services"][need].get("profiles", ())))
                context.complain(
                    path,
                    f"depends on '{need}', whose profile ({profiles}) is not active; add --profile, or required: false",
                    key=True,
                )
        elif ("services", need) not in context.complaints.broken and dependency.required:
            context.complain(
                path, f"depends on '{need}', which is no service{did_you_mean(need, written['services'])}", key=True
            )


def circle(context: Context, services: Mapping[str, Service]) -> None:
    if found := graph.cycle(services):
        path = ("services", found[0], "depends_on", found[1])
        context.complain(path, f"the services wait for each other in a circle: {' → '.join(found)}", key=True)


def ports(context: Context, service: Service) -> None:
    """Ports of a network namespace that is not the service's own."""
    path, kind = ("services", service.name, "ports"), (service.network_mode or "").partition(":")[0]
    if service.ports and kind == "host":
        context.complaints.warn(
            context.marks, path, "says nothing with network_mode: host: every port is the host's own"
        )
    elif service.ports and kind in ("none", "service", "container"):
        context.complain(path, f"cannot be published with network_mode: {service.network_mode}", key=True)


def container_names(context: Context, services: Mapping[str, Service]) -> None:
    """A fixed name is that of one container."""
    taken: dict[str, str] = {}
    for name, service in services.items():
        if service.container_name is None:
            continue
        path = ("services", name, "container_name")
        if service.replicas > 1:
            context.complain(path, f"one fixed name cannot serve {service.replicas} replicas; remove it")
        if (other := taken.setdefault(service.container_name, name)) != name:
            context.complain(path, f"service '{other}' has {service.container_name!r} already")


def resources(context: Context, service: Service, path: Path) -> None:
    asked, limit = service.reservations, service.limits
    if limit.memory is not None and asked.memory > limit.memory:
        sizes = f"{units.human_bytes(asked.memory)} above the limit of {units.human_bytes(limit.memory)}"
        context.complain((*path, "memory"), f"reserves {sizes}")
    if limit.cpus is not None and asked.cpus > limit.cpus:
        cores = f"{units.human_cpus(asked.cpus)} cpus above the limit of {units.human_cpus(limit.cpus)}"
        context.complain((*path, "cpus"), f"reserves {cores}")


def places(context: Context, service: Service, written: Mapping[str, Any]) -> None:
    """Networks and volumes that a service names must be written at the top level."""
    path: Path = ("services", service.name)
    known = (written.get("networks") or {}).keys()
    for key in service.networks:
        if key not in known and key not in ("default", BRIDGE) and not _unknowable(context, "networks", key):
            context.complain(
                (*path, "networks", key), f"network '{key}' is not defined{_hint(key, known, 'networks')}", key=True
            )
    volumes = (written.get("volumes") or {}).keys()
    items = [item for item in written["services"][service.name].get("volumes", ())]
    for mount in service.mounts:
        if (
            mount.kind == "volume"
            and not service.volumes_from
            and mount.source
            and mount.source not in volumes
            and not _unknowable(context, "volumes", mount.source)
        ):
            index = next(i for i, item in enumerate(items) if _names(item, mount.source))
            hint = _hint(mount.source, volumes, "volumes")
            context.complain(
                (*path, "volumes", index), f"volume '{mount.source}' is not defined{hint} (a path begins with ./ or /)"
            )


def lenders(context: Context, service: Service, services: Mapping[str, Service]) -> None:
    """`volumes_from` names services that are there. (Who takes from whom in a circle, waits in one.)"""
    for index, words in enumerate(service.volumes_from):
        if not words.container and words.source not in services:
            hint = did_you_mean(words.source, services)
            path = ("services", service.name, "volumes_from", index)
            context.complain(path, f"takes the volumes of '{words.source}', which is no service{hint}")


def _names(item: Any, source: str) -> bool:
    return item.startswith(source + ":") if isinstance(item, str) else bool(item and item.get("source") == source)


def _unknowable(context: Context, kind: str, key: str) -> bool:
    return bool({(kind,), (kind, key)} & context.complaints.broken)


def _hint(key: str, known: Iterable[str], kind: str) -> str:
    return did_you_mean(key, known) or f"; add it to '{kind}:' at the top level"


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
