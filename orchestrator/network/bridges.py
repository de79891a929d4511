"""A network is a bridge with the gateway's address on it.

IPv6 is switched off on every bridge and veth whose network does not ask for it: its multicast, flooded to every port,
makes N containers on one bridge cost N² (25 ms for each of the last 100 of 1000, against 6).
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator

from orchestrator.errors import HostRefused
from orchestrator.kernel import netlink
from orchestrator.kernel.netlink import Netlink

USUAL_MTU = 1500


def make(
    ifname: str, gateway: str, mtu: int | None = None, further_name: str | None = None, gateway6: str | None = None
) -> int:
    """The bridge `ifname` with the address `gateway` ("10.1.0.1/24"), up; returns its index.

    `mtu`: what its ports get too; `further_name`: one more that people find it by; `gateway6`: its IPv6 address.

    What is there already is kept, what is missing or wrong is put right. Raises HostRefused.
    """
    try:
        with Netlink() as kernel:
            with _unless(errno.EEXIST):
                kernel.run(netlink.new_bridge(ifname, b"\x02p" + socket.inet_aton(gateway.partition("/")[0])))
            index = socket.if_nametoindex(ifname)
            switch("ipv6", ifname, "disable_ipv6", gateway6 is None)
            stale = [address for on, address in netlink.addresses(kernel) if on == index and address != gateway]
            kernel.run(
                *(netlink.drop_address(index, address) for address in stale),
                netlink.new_address(index, gateway),
                netlink.link_up(index),
            )
            if gateway6 is not None:
                switch("ipv6", ifname, "accept_ra", False)
                kernel.run(netlink.new_address(index, gateway6))
                switch_forwarding6()
            if mtu is not None:
                kernel.run(netlink.set_mtu(index, mtu))
            if further_name is not None:
                with _unless(errno.EEXIST):
                    kernel.run(netlink.further_name(index, further_name))
        # A connection to 127.0.0.1 of the host that is sent to a container leaves with 127.0.0.1 as its source and
        # its answers arrive for it: both are martians unless allowed here. The firewall keeps everything else out.
        switch("ipv4", ifname, "route_localnet", True)
        switch_forwarding()
    except OSError as error:
        raise HostRefused(f"cannot make bridge '{ifname}' with address {gateway}: {error.strerror}") from error
    return index


def mtu(ifname: str) -> int:
    """What its ports are to have; 0 where it is the usual one."""
    try:
        with open(f"/sys/class/net/{ifname}/mtu") as file:
            found = int(file.read())
    except FileNotFoundError:
        return 0
    return 0 if found == USUAL_MTU else found


def drop(ifname: str) -> None:
    """Remove the link `ifname`, if it is there."""
    try:
        with _unless(errno.ENODEV), Netlink() as kernel:
            kernel.run(netlink.drop_link(ifname))
    except OSError as error:
        raise HostRefused(f"cannot remove link '{ifname}': {error.strerror}") from error


def listing(prefix: str) -> dict[str, int]:
    """Links whose name begins with `prefix`, and their index."""
    with Netlink() as kernel:
        return {link.name: link.number for link in netlink.links(kernel) if link.name.startswith(prefix)}


def host_routes() -> list[str]:
    """Networks this host already speaks to, for `pool.choose_subnet`: its routes but the default one, its nameservers.

    A nameserver behind the default route would be cut off by a bridge that claims its network.
    """
    with Netlink() as kernel:
        routes = {route.destination for route in netlink.routes(kernel) if route.table != netlink.RT_TABLE_LOCAL}
    return sorted((routes - {"0.0.0.0/0"}) | {f"{server}/32" for server in nameservers() if ":" not in server})


def nameservers(path: str = "/etc/resolv.conf") -> list[str]:
    """Addresses of the resolvers this host uses, in order; resolv.conf(5)."""
    try:
        with open(path, errors="replace") as file:
            words = [line.split() for line in file]
    except FileNotFoundError:
        return []
    found = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return [server for server in found if _is_address(server)]


def switch(family: str, ifname: str, name: str, on: bool) -> None:
    """Write a per-interface switch of /proc/sys/net. A kernel without IPv6 has none to switch off."""
    try:
        with open(f"/proc/sys/net/{family}/conf/{ifname}/{name}", "w") as file:
            file.write("1" if on else "0")
    except FileNotFoundError:
        if family != "ipv6":
            raise


def switch_forwarding() -> None:
    """The host routes between its interfaces. It stays on when we leave: others may have come to need it."""
    with open("/proc/sys/net/ipv4/ip_forward") as file:
        on = file.read().strip() == "1"
    if not on:  # only then: writing it anew resets other switches of every interface
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")


def switch_forwarding6() -> None:
    """The same for IPv6. Who routes is told no routes by others, unless it says so: what came by router
    advertisements would go from interfaces that have accept_ra at 1 (ip-sysctl.rst), so these are set to 2.
    """
    with open("/proc/sys/net/ipv6/conf/all/forwarding") as file:
        if file.read().strip() == "1":
            return
    for name in os.listdir("/proc/sys/net/ipv6/conf"):
        with open(f"/proc/sys/net/ipv6/conf/{name}/accept_ra", "r+") as file:
            if file.read().strip() == "1":
                file.seek(0)
                file.write("2")
    with open("/proc/sys/net/ipv6/conf/all/forwarding", "w") as file:
        file.write("1")


def _is_address(written: str) -> bool:
    try:
        return bool(ipaddress.ip_address(written.partition("%")[0]))
    except ValueError:
        return False


@contextlib.contextmanager
def _unless(expected: int) -> Iterator[None]:
    """The one errno that means the world is already as it should be."""
    try:
        yield
    except OSError as error:
        if error.errno != expected:
            raise
