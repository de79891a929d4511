"""Ports of the host that containers are published on, each held by a socket of ours while it is published.

The socket carries no traffic: the firewall sends connections on to the container before they reach it (and resets them
where there is no container). It is there so that the kernel gives the port to nobody else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator

from orchestrator.errors import Conflict, HostRefused

_LISTENING = {"tcp": "0A", "udp": "07"}  # column `st` of /proc/net/{tcp,udp}
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def hold(host_ip: str, port: int, protocol: str) -> socket.socket:
    """Take a port of the host (0: any free one); it is ours until the socket is closed.

    Raises Conflict "cannot publish 127.0.0.1:8080/tcp: already used by process 123 (nginx)" or HostRefused.
    """
    what = f"cannot publish {host_ip}:{port}/{protocol}"
    six = ":" in host_ip
    if host_ip == "::1":
        raise Conflict(
            f"{what}: IPv6 lets nothing of the loopback leave it; write 127.0.0.1, or [::] for all addresses"
        )
    family = socket.AF_INET6 if six else socket.AF_INET
    holder = socket.socket(family, _KINDS[protocol] | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if six:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":  # connections of a former owner still in TIME_WAIT do not matter
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host_ip, port))
        if protocol == "tcp":
            holder.listen(1)
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"{what}: already used by {_owner(host_ip, port, protocol)}") from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise Conflict(f"{what}: this host has no address {host_ip}") from error
        raise HostRefused(f"{what}: {error.strerror}") from error
    return holder


def free_port(host_ip: str, protocol: str) -> int:
    """A port that nobody uses at this moment."""
    with hold(host_ip, 0, protocol) as holder:
        return int(holder.getsockname()[1])


def is_free(host_ip: str, port: int, protocol: str) -> bool:
    """Whether it could be held at this moment."""
    try:
        hold(host_ip, port, protocol).close()
    except Conflict:
        return False
    return True


def _owner(host_ip: str, port: int, protocol: str) -> str:
    for inode in _inodes(host_ip, port, protocol):
        for pid in _holders(inode):
            if pid == os.getpid():
                return "another container of this agent"
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
                return f"process {pid} ({file.read().strip()})"
    return "a process that cannot be seen from here"


def _inodes(host_ip: str, port: int, protocol: str) -> Iterator[str]:
    """Sockets that stand in the way: the same port on the same address, or either of the two on all addresses."""
    if ":" in host_ip:
        return  # /proc would have to be read otherwise
    ours = socket.inet_aton(host_ip)
    for path in (f"/proc/thread-self/net/{protocol}", f"/proc/thread-self/net/{protocol}6"):
        with contextlib.suppress(FileNotFoundError), open(path) as file:
            for fields in map(str.split, list(file)[1:]):
                address, _, number = fields[1].partition(":")
                # Words of four bytes in the machine's order; of a mapped IPv6 address the last word is the IPv4 one.
                theirs = struct.pack("=I", int(address[-8:], 16))
                same_address = theirs == ours or bytes(4) in (theirs, ours)
                if same_address and int(number, 16) == port and fields[3] == _LISTENING[protocol]:
                    yield fields[9]


def _holders(inode: str) -> Iterator[int]:
    wanted = f"socket:[{inode}]"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it ended while we looked
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{fd}") == wanted:
                        yield int(pid)
