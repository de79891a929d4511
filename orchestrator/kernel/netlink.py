"""rtnetlink by hand: links, addresses and routes as the few packed messages they are.

Sources: rtnetlink(7), netlink(7), linux/if_link.h. A message costs microseconds here; pyroute2 takes milliseconds for
the same and 200 ms to import. Errors stay OSError with the kernel's errno; who knows the intention wraps them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from orchestrator.kernel import namespaces

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLMSG_ERROR, NLMSG_DONE = 2, 3

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 16, 17, 18, 20, 21, 22
RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE = 0x1, 0x10, 0x40  # linux/rtnetlink.h
RTM_NEWROUTE, RTM_GETROUTE, RTM_NEWLINKPROP = 24, 26, 108
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_PID = 1, 3, 10, 18, 19
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 31, 32
IFLA_MTU, IFLA_PROP_LIST, IFLA_ALT_IFNAME = 4, 52, 53
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA, VETH_INFO_PEER = 1, 2, 4, 5, 1
IFLA_BR_MCAST_SNOOPING, IFLA_BRPORT_MODE = 23, 4
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_DST, RTA_GATEWAY, RTA_TABLE = 1, 5, 15
IFF_UP = 1
_IFA_F_NODAD = 0x02
RT_TABLE_MAIN, RT_TABLE_LOCAL, RTPROT_STATIC, RTN_UNICAST = 254, 255, 4, 1

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_PADDING = (b"", bytes(3), bytes(2), bytes(1))
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst len, src len, tos, table, protocol, scope, type, flags


class Link(NamedTuple):
    number: int
    name: str
    up: bool
    master: int | None


class Route(NamedTuple):
    destination: str  # "10.0.0.0/8"; "0.0.0.0/0" is the default route
    table: int


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute: length, type, value, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + _PADDING[len(value) & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | 0x8000, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def message(kind: int, flags: int, body: bytes, sequence: int = 0) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, sequence, 0) + body


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The messages of one datagram as (type, body)."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a body after its fixed header, by type (flag bits removed)."""
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def complain(body: bytes) -> int:
    """The errno of an NLMSG_ERROR body; 0 is an acknowledgement."""
    return -int(struct.unpack_from("=i", body)[0])


def subscribed(groups: int, protocol: int = NETLINK_ROUTE) -> socket.socket:
    """A socket that is readable when something of these groups changes in the network namespace it is opened in."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    made.bind((0, groups))
    return made


def heard(told: socket.socket) -> Iterator[tuple[int, bytes]]:
    """(kind, body) of everything that has been told since; NLMSG_ERROR: the kernel lost count, look at everything."""
    while True:
        try:
            data = told.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield NLMSG_ERROR, b""
        else:
            yield from messages(data)


def subject(kind: int, body: bytes) -> str | int:
    """Whose message it is: the name of the link, or the index of the link whose address it is."""
    if kind in (RTM_NEWLINK, RTM_DELLINK):
        return attributes(body[_LINK.size :]).get(IFLA_IFNAME, b"").rstrip(b"\0").decode()
    return int(_ADDRESS.unpack_from(body)[4])


class Netlink:
    """A netlink socket of the network namespace it was opened in. The kernel answers within the send itself."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def run(self, *requests: bytes) -> None:
        """Send requests that ask for an acknowledgement, in one datagram; raises OSError of the first that failed.

        The kernel works through all of them, whatever became of the former ones.
        """
        self.socket.send(b"".join(requests))
        waiting, failed = len(requests), 0
        while waiting:
            for kind, body in messages(self.socket.recv(65536)):
                if kind == NLMSG_ERROR:
                    waiting -= 1
                    failed = failed or complain(body)
        if failed:
            raise OSError(failed, os.strerror(failed))

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Bodies of everything the kernel lists for this question."""
        self.socket.send(message(kind, NLM_F_DUMP, body))
        while True:
            for answer, content in messages(self.socket.recv(1 << 18)):
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    raise OSError(complain(content), os.strerror(complain(content)))
                yield content


# What to say: each returns one message, to be given to `run`.


def new_bridge(name: str, mac: bytes) -> bytes:
    """A bridge, down. Its own MAC, or it would take that of its lowest port and change with the containers."""
    data = nested(IFLA_INFO_DATA, attribute(IFLA_BR_MCAST_SNOOPING, b"\0"))
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"), data)
    return _change_link(
        RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, text(IFLA_IFNAME, name), attribute(IFLA_ADDRESS, mac), info
    )


def set_mtu(index: int, mtu: int) -> bytes:
    return _change_link(RTM_NEWLINK, 0, number(IFLA_MTU, mtu), index=index)


def further_name(index: int, name: str) -> bytes:
    """One more name that the link is found by (`ip link property add`, Linux 5.5)."""
    names = nested(IFLA_PROP_LIST, text(IFLA_ALT_IFNAME, name))
    return _change_link(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND, names, index=index)


def new_veth(name: str, master: int, pid: int, peer: str, mac: bytes, mtu: int = 0) -> bytes:
    """A veth: the host's end up and in bridge `master`, the other end, still down, in the network namespace of `pid`.

    The peer cannot be brought up here: with IFF_UP in its header the kernel answers ENOTCONN.
    """
    one_queue = number(IFLA_NUM_TX_QUEUES, 1) + number(IFLA_NUM_RX_QUEUES, 1)
    other = _LINK.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, peer) + attribute(IFLA_ADDRESS, mac)
    size = number(IFLA_MTU, mtu) if mtu else b""
    other += number(IFLA_NET_NS_PID, pid) + one_queue + size
    data = nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, other))
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), data)
    attached = text(IFLA_IFNAME, name) + number(IFLA_MASTER, master) + one_queue + size
    return _change_link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, attached, info, up=True)


def hairpin(name: str) -> bytes:
    """Let the bridge send frames of port `name` back to where they came from.

    Needed where br_netfilter is on: it translates a container's question to its own published port within the bridge.
    """
    data = nested(IFLA_INFO_SLAVE_DATA, attribute(IFLA_BRPORT_MODE, b"\1"))
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_SLAVE_KIND, "bridge"), data)
    return _change_link(RTM_NEWLINK, 0, text(IFLA_IFNAME, name), info)


def join(name: str, master: int) -> bytes:
    """Put link `name` into bridge `master`."""
    return _change_link(RTM_NEWLINK, 0, text(IFLA_IFNAME, name), number(IFLA_MASTER, master))


def up(name: str) -> bytes:
    return _change_link(RTM_NEWLINK, 0, text(IFLA_IFNAME, name), up=True)


def link_up(index: int) -> bytes:
    return _change_link(RTM_NEWLINK, 0, index=index, up=True)


def drop_link(name: str) -> bytes:
    return _change_link(RTM_DELLINK, 0, text(IFLA_IFNAME, name))


def _change_link(kind: int, flags: int, *parts: bytes, index: int = 0, up: bool = False) -> bytes:
    state = IFF_UP if up else 0
    return message(kind, flags | NLM_F_ACK, _LINK.pack(0, 0, index, state, state) + b"".join(parts))


def new_address(index: int, address: str) -> bytes:
    """`address` as "10.1.0.5/24"; an address that is there already is left as it is."""
    return _change_address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address)


def drop_address(index: int, address: str) -> bytes:
    return _change_address(RTM_DELADDR, 0, index, address)


def _change_address(kind: int, flags: int, index: int, address: str) -> bytes:
    ip, _, length = address.partition("/")
    if ":" in ip:
        packed = socket.inet_pton(socket.AF_INET6, ip)
        body = _ADDRESS.pack(socket.AF_INET6, int(length), _IFA_F_NODAD, 0, index)  # nobody else can have it: at once
        return message(kind, flags | NLM_F_ACK, body + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed))
    packed, host_bits = socket.inet_aton(ip), (1 << (32 - int(length))) - 1
    broadcast = (int.from_bytes(packed, "big") | host_bits).to_bytes(4, "big")
    body = _ADDRESS.pack(socket.AF_INET, int(length), 0, 0, index)
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed) + attribute(IFA_BROADCAST, broadcast)
    return message(kind, flags | NLM_F_ACK, body)


def default_route(gateway: str) -> bytes:
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    body = _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, 0, RTN_UNICAST, 0)
    body += attribute(RTA_GATEWAY, socket.inet_pton(family, gateway))
    return message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, body)


# What to ask.


def links(netlink: Netlink) -> Iterator[Link]:
    for body in netlink.dump(RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
        _family, _type, index, flags, _change = _LINK.unpack_from(body)
        found = attributes(body[_LINK.size :])
        master = struct.unpack("=I", found[IFLA_MASTER])[0] if IFLA_MASTER in found else None
        yield Link(index, found[IFLA_IFNAME].rstrip(b"\0").decode(), bool(flags & IFF_UP), master)


def addresses(netlink: Netlink) -> Iterator[tuple[int, str]]:
    """(link index, "10.1.0.1/24") of every IPv4 address."""
    for body in netlink.dump(RTM_GETADDR, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)):
        _family, length, _flags, _scope, index = _ADDRESS.unpack_from(body)
        found = attributes(body[_ADDRESS.size :])
        if IFA_LOCAL in found:
            yield index, f"{socket.inet_ntoa(found[IFA_LOCAL])}/{length}"


def routes(netlink: Netlink) -> Iterator[Route]:
    """Every IPv4 route, those of the local table included."""
    for body in netlink.dump(RTM_GETROUTE, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        _family, length, _source, _tos, table, *_ = _ROUTE.unpack_from(body)
        found = attributes(body[_ROUTE.size :])
        table = struct.unpack("=I", found[RTA_TABLE])[0] if RTA_TABLE in found else table
        yield Route(f"{socket.inet_ntoa(found.get(RTA_DST, bytes(4)))}/{length}", table)


@contextlib.contextmanager
def namespace_of(pid: int) -> Iterator[None]:
    """This thread stands in the network namespace of `pid` for a moment: sockets opened here belong there for ever."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespaces.join(there, namespaces.NEWNET, f"process {pid}")
        finally:
            os.close(there)
        try:
            yield
        finally:
            namespaces.join(home, namespaces.NEWNET, "this process")
    finally:
        os.close(home)
