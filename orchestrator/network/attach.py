"""A container's interface: a veth with one end in the bridge and the other in the container's network namespace.

The kernel takes a dead namespace down 15 to 80 ms after its last process, and the host's end with it. A new run of the
same container therefore brings a fresh `host_name`, or it would meet its predecessor's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Sequence

from orchestrator.errors import HostRefused
from orchestrator.kernel import netlink
from orchestrator.kernel.netlink import Netlink
from orchestrator.network.bridges import switch

_LOOPBACK = 1  # index of lo in every network namespace


def attach(
    pid: int, *, host_name: str, bridge_index: int, address: str, gateway: str | None, inside: str = "eth0", mac: str,
    mtu: int = 0, six: tuple[str, str | None] | None = None, more: Sequence[str] = (),
    settings: Sequence[tuple[str, str]] = (),
) -> None:  # fmt: skip
    """Give the network namespace of `pid` the interface `inside` with `address` ("10.1.0.5/24"), up, and lo up too.

    `gateway` becomes its default route; None: it speaks to its own network only, or has its default elsewhere.
    `six`: its IPv6 address with prefix length and gateway. `more`: further addresses. `settings`: sysctls of the
    interface, IFNAME standing for its name. Raises HostRefused, and then nothing is left behind.
    """
    hardware = bytes.fromhex(mac.replace(":", ""))
    try:
        with Netlink() as kernel:
            veth = netlink.new_veth(host_name, bridge_index, pid, inside, hardware, mtu)
            kernel.run(veth, netlink.hairpin(host_name))
        try:
            switch("ipv6", host_name, "disable_ipv6", True)
            _furnish(pid, inside, address, gateway, six)
            if more or settings:
                _extend(pid, inside, more, settings)
        except BaseException:
            detach(host_name)
            raise
    except OSError as error:
        why = error.strerror or os.strerror(error.errno or 0)
        raise HostRefused(f"cannot attach process {pid} to its network as {address}: {why}") from error


def join(host_name: str, bridge_index: int) -> None:
    """Put the host's end into a bridge again whose predecessor somebody removed. Gone already is as good."""
    try:
        with Netlink() as kernel:
            kernel.run(netlink.join(host_name, bridge_index), netlink.hairpin(host_name), netlink.up(host_name))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise HostRefused(f"cannot put link '{host_name}' into its bridge: {error.strerror}") from error


def _furnish(pid: int, inside: str, address: str, gateway: str | None, six: tuple[str, str | None] | None) -> None:
    """IPv6 is off already, unless a network asks for it: the runtime made that the default of the namespace before any
    interface came."""
    with netlink.namespace_of(pid):
        kernel = Netlink()
        with contextlib.closing(kernel.socket):
            index = socket.if_nametoindex(inside)
            requests = [netlink.link_up(_LOOPBACK), netlink.new_address(index, address), netlink.link_up(index)]
            kernel.run(*requests, *([netlink.default_route(gateway)] if gateway else []))
            switch("ipv6", inside, "disable_ipv6", six is None)
            if six is not None:
                switch("ipv6", inside, "accept_ra", False)
                route = [netlink.default_route(six[1])] if six[1] else []
                kernel.run(netlink.new_address(index, six[0]), *route)


def furnished(pid: int, inside: str, address: str, gateway: str | None) -> str | None:
    """What is missing of the interface that `attach` made, in words; None: nothing. Raises OSError where its namespace
    is gone."""
    with netlink.namespace_of(pid):
        kernel = Netlink()
    with kernel:
        found = {link.name: link for link in netlink.links(kernel)}
        if inside not in found:
            return f"its interface {inside} was removed"
        if (found[inside].number, address) not in set(netlink.addresses(kernel)):
            return f"its address {address} was removed from {inside}"
        if not found[inside].up:
            return f"its interface {inside} was set down"
        ways = {route.destination for route in netlink.routes(kernel) if route.table == netlink.RT_TABLE_MAIN}
    return f"its default route by {gateway} was removed" if gateway and "0.0.0.0/0" not in ways else None


def furnish_again(pid: int, inside: str, address: str, gateway: str | None, six: tuple[str, str | None] | None) -> None:
    """What is missing of its address and its way out is given to it again. Raises HostRefused."""
    try:
        _furnish(pid, inside, address, gateway, six)
    except OSError as error:
        if error.errno != errno.EEXIST:  # its default route is the only thing that may not be there twice
            raise HostRefused(f"cannot give process {pid} its address {address}: {error.strerror}") from error


def _extend(pid: int, inside: str, more: Sequence[str], settings: Sequence[tuple[str, str]]) -> None:
    with netlink.namespace_of(pid):
        for name, value in settings:
            path = "/".join(part.replace("IFNAME", inside) for part in name.split("."))
            with open(f"/proc/sys/{path}", "w", encoding="ascii") as file:
                file.write(value)
        kernel = Netlink()
        with contextlib.closing(kernel.socket):
            index = socket.if_nametoindex(inside)
            if any(":" in address for address in more):
                switch("ipv6", inside, "disable_ipv6", False)
            kernel.run(*(netlink.new_address(index, address) for address in more))


def loopback(pid: int) -> None:
    """Bring lo up in the network namespace of `pid`, which has nothing else. Raises HostRefused."""
    try:
        with netlink.namespace_of(pid):
            kernel = Netlink()
            with contextlib.closing(kernel.socket):
                kernel.run(netlink.link_up(_LOOPBACK))
    except OSError as error:
        raise HostRefused(f"cannot bring up the loopback interface of process {pid}: {error.strerror}") from error


def detach(host_name: str) -> None:
    """Remove the host's end, and the container's with it. Gone already is as good."""
    try:
        with Netlink() as kernel:
            kernel.run(netlink.drop_link(host_name))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise HostRefused(f"cannot remove link '{host_name}': {error.strerror}") from error
