"""A machine's network of the test's own: a fresh network namespace, boxes for containers, a neighbour outside.

Nothing of the real machine is touched. Sockets are opened inside a box with `box.inside()` and used from here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

from pyroute2 import IPRoute

from orchestrator.kernel import namespaces, netlink
from orchestrator.network import attach, bridges, pool

PATIENCE = 10.0  # seconds, for what must come
SILENCE = 0.3  # seconds without a packet that must not come


class Box:
    """A network namespace, held by a process that waits for us."""

    def __init__(self, undo: ExitStack) -> None:
        holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        undo.push(holder)
        assert holder.stdout and holder.stdout.readline()  # the namespace is there
        self.pid = holder.pid
        self.address = ""
        self.links: list[str] = []

    def inside(self) -> contextlib.AbstractContextManager[None]:
        return netlink.namespace_of(self.pid)

    def listen(self, port: int, kind: str = "tcp") -> socket.socket:
        with self.inside():
            return listen("0.0.0.0", port, kind)

    def connect(self, address: str, port: int, patience: float = PATIENCE) -> socket.socket:
        with self.inside():
            return connect(address, port, patience)


def listen(address: str, port: int, kind: str = "tcp") -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.settimeout(PATIENCE)
    if kind == "tcp":
        server.listen(64)
    return server


def connect(address: str, port: int, patience: float = PATIENCE) -> socket.socket:
    return socket.create_connection((address, port), timeout=patience)


def visitor(server: socket.socket) -> str:
    """Who has just connected, as the server sees it."""
    connection, (address, _port) = server.accept()
    connection.close()
    return str(address)


class Machine:
    """Our network namespace. The neighbour is 192.0.2.2, this machine on the same wire 192.0.2.1."""

    def __init__(self, undo: ExitStack) -> None:
        self._undo = undo
        self._serial = itertools.count()
        self.neighbour = Box(undo)
        with IPRoute() as ip:
            ip.link("set", index=1, state="up")
            ip.link("add", ifname="lan0", kind="veth", peer={"ifname": "eth0", "net_ns_pid": self.neighbour.pid})
            self._furnish(ip, "lan0", "192.0.2.1")
        with self.neighbour.inside(), IPRoute() as ip:
            self._furnish(ip, "eth0", "192.0.2.2")

    def _furnish(self, ip: IPRoute, name: str, address: str) -> None:
        index = ip.link_lookup(ifname=name)[0]
        ip.addr("add", index=index, address=address, prefixlen=24)
        ip.link("set", index=index, state="up")

    def box(
        self, bridge: str, address: str, *, inside: str = "eth0", routed: bool = True, box: Box | None = None
    ) -> Box:
        """A container with `address` in the /24 of `bridge`; or one more interface for `box`."""
        box, host_name = box or Box(self._undo), f"test{next(self._serial)}"
        with box.inside():  # as the runtime does, before any interface comes
            bridges.switch("ipv6", "default", "disable_ipv6", True)
        attach.attach(
            box.pid,
            host_name=host_name,
            bridge_index=bridges.listing(bridge)[bridge],
            address=f"{address}/24",
            gateway=pool.gateway(f"{address.rsplit('.', 1)[0]}.0/24").split("/")[0] if routed else None,
            inside=inside,
            mac=pool.mac(address),
        )
        box.address = box.address or address
        box.links.append(host_name)
        return box


@contextlib.contextmanager
def machine() -> Iterator[Machine]:
    """This thread, and what it starts, in a network namespace of their own for a while."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    namespaces.unshare(namespaces.NEWNET)
    try:
        with ExitStack() as undo:
            yield Machine(undo)
    finally:
        namespaces.join(home, namespaces.NEWNET, "the test")
        os.close(home)
