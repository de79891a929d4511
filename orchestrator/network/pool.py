"""Which subnet for a network, which address for a container. Pure; IPv4."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Set
from ipaddress import IPv4Address, IPv4Network

from orchestrator.errors import Conflict, Mistake

# Where Docker and the home routers are not; 172.16/12 before 10/8, which clouds and offices use most.
POOLS = (IPv4Network("172.24.0.0/13"), IPv4Network("10.192.0.0/11"), IPv4Network("172.20.0.0/14"))
LENGTH = 24


def choose_subnet(wanted: str | None, taken: Iterable[str]) -> str:
    """A /24 of our pools, or `wanted`, that overlaps nothing in `taken` (the host's routes and our other networks).

    Raises Conflict where there is none, Mistake where `wanted` is no subnet.
    """
    used = [(int(net.network_address), int(net.broadcast_address), net) for net in _networks(taken)]
    for candidate in [_subnet(wanted)] if wanted else _pools():
        first, last = int(candidate.network_address), int(candidate.broadcast_address)
        overlap = next((net for low, high, net in used if low <= last and first <= high), None)
        if overlap is None:
            return str(candidate)
        if wanted:
            raise Conflict(
                f"cannot use subnet {wanted}: it overlaps {overlap}, a route of this host or another network; "
                "write another under ipam.config or none at all"
            )
    pools = ", ".join(map(str, POOLS))
    raise Conflict(f"cannot choose a subnet: address pool exhausted, no free /{LENGTH} in {pools}; remove networks")


def choose_address(subnet: str, taken: Set[str], after: str | None, within: str | None = None) -> str:
    """The first free address behind `after` (the last one leased), round the subnet; network, gateway, broadcast not.

    `within`: a part of the subnet, from which alone is chosen.

    So an address that was just freed is the last to be given away again. Raises Conflict "address pool exhausted".
    """
    network = IPv4Network(subnet)
    low, high = int(network.network_address) + 2, int(network.broadcast_address) - 1
    if within is not None:
        part = IPv4Network(within)
        low, high = max(low, int(part.network_address)), min(high, int(part.broadcast_address))
    start = min(max(int(IPv4Address(after)) + 1, low), high + 1) if after else low
    for value in itertools.chain(range(start, high + 1), range(low, start)):
        address = str(IPv4Address(value))
        if address not in taken:
            return address
    count, place = max(high - low + 1, 0), within or subnet
    raise Conflict(
        f"cannot choose an address: address pool exhausted, all {count} of {place} are taken; "
        "write a larger subnet under ipam.config"
    )


def gateway(subnet: str) -> str:
    """The bridge's own address, the subnet's first: "10.1.0.0/24" → "10.1.0.1/24"."""
    network = IPv4Network(subnet)
    return f"{network.network_address + 1}/{network.prefixlen}"


def mac(address: str) -> str:
    """The hardware address that goes with an address, so that neighbours' caches stay right: 02:42:0a:01:00:05."""
    return "02:42:" + IPv4Address(address).packed.hex(":")


def _subnet(wanted: str) -> IPv4Network:
    try:
        network = IPv4Network(wanted, strict=False)
    except ValueError as error:
        raise Mistake(f"cannot use subnet '{wanted}': {error}") from error
    if not 8 <= network.prefixlen <= 29:
        raise Mistake(f"cannot use subnet '{wanted}': /8 is the largest and /29 the smallest network we make")
    return network


def _pools() -> Iterator[IPv4Network]:
    for pool in POOLS:
        yield from pool.subnets(new_prefix=LENGTH)


def _networks(taken: Iterable[str]) -> Iterator[IPv4Network]:
    for written in taken:
        network = IPv4Network(written, strict=False)
        if network.prefixlen:  # the default route is no claim on an address
            yield network
