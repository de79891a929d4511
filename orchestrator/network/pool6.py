"""IPv6 beside IPv4: each network's and each container's address follows from its IPv4 one. Pure.

So nothing more has to be leased: a container keeps its IPv6 address as long as its IPv4 one, and none can clash.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network


def subnet(instance: str, number: int) -> str:
    """A /64 of the agent's own (RFC 4193): 40 random bits of its instance, 16 of the network's number."""
    return f"fd{instance[:2]}:{instance[2:6]}:0:{number:x}::/64"


def gateway(network: str) -> str:
    """The bridge's own address, the subnet's first."""
    return str(IPv6Network(network).network_address + 1)


def address(network: str, older: str, older_network: str) -> str:
    """The container whose address in `older_network` is `older`: the same number in the IPv6 subnet."""
    host = int(IPv4Address(older)) - int(IPv4Network(older_network, strict=False).network_address)
    return str(IPv6Address(int(IPv6Network(network).network_address) + host))
