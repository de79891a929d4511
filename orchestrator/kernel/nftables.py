"""nf_tables by hand: chains, rules and the expressions our firewall is made of, sent as one atomic batch.

Sources: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h; `nft --debug=netlink list ruleset` shows the same
expressions by name. Numbers in attributes are big-endian here, unlike rtnetlink. A rule is the list of its expressions;
each match either goes on to the next expression or leaves the rule. IPv4 only.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import struct
from collections.abc import Sequence

from orchestrator.kernel.netlink import (
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLMSG_ERROR,
    Netlink,
    attribute,
    attributes,
    complain,
    message,
    messages,
    nested,
    text,
)

NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, NEWRULE = (NFNL_SUBSYS_NFTABLES << 8 | number for number in (0, 1, 2, 3, 6))
GETRULE, GETGEN = NFNL_SUBSYS_NFTABLES << 8 | 7, NFNL_SUBSYS_NFTABLES << 8 | 16

HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
IP, IP6 = socket.AF_INET, socket.AF_INET6  # families of tables
ESTABLISHED, RELATED, NEW = 2, 4, 8  # ct state
DESTINATION_TRANSLATED = 32  # ct status, IPS_DST_NAT
_REGISTER, _SECOND_REGISTER, _THIRD_REGISTER = 1, 2, 3
_EQUAL, _UNEQUAL = 0, 1
_ADDRESS_TYPE_LOCAL = 2  # RTN_LOCAL
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_SOURCE, _DESTINATION = 12, 16  # offsets in the IPv4 header
_SOURCE_6, _DESTINATION_6 = 8, 24  # … and in that of IPv6
_DROP, _ACCEPT, _JUMP = 0, 1, -3

Expression = bytes
_remembered = functools.lru_cache(4096)  # the same few matches come back in every ruleset


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(4, "big"))


def _expression(name: str, *attributes: bytes) -> Expression:
    return nested(1, text(1, name), nested(2, *attributes))


def _load_meta(key: int) -> Expression:
    return _expression("meta", _number(1, _REGISTER), _number(2, key))


def _load_payload(header: int, offset: int, length: int) -> Expression:
    return _expression("payload", _number(1, _REGISTER), _number(2, header), _number(3, offset), _number(4, length))


def _compare(value: bytes, operator: int = _EQUAL) -> Expression:
    return _expression("cmp", _number(1, _REGISTER), _number(2, operator), nested(3, attribute(1, value)))


def _mask(mask: bytes) -> Expression:
    zero = nested(5, attribute(1, bytes(len(mask))))
    return _expression(
        "bitwise",
        _number(1, _REGISTER),
        _number(2, _REGISTER),
        _number(3, len(mask)),
        nested(4, attribute(1, mask)),
        zero,
    )


def _immediate(register: int, data: bytes) -> Expression:
    return _expression("immediate", _number(1, register), nested(2, data))


# Matches


@_remembered
def entering(interface: str, *, unless: bool = False) -> Expression:
    """`iifname`."""
    return _load_meta(6) + _compare(interface.encode().ljust(16, b"\0"), _UNEQUAL if unless else _EQUAL)


@_remembered
def leaving(interface: str, *, unless: bool = False) -> Expression:
    """`oifname`."""
    return _load_meta(7) + _compare(interface.encode().ljust(16, b"\0"), _UNEQUAL if unless else _EQUAL)


@_remembered
def source(network: str, *, unless: bool = False) -> Expression:
    """`ip saddr`, `ip6 saddr`; an address or a network in CIDR notation."""
    return _address(_SOURCE, _SOURCE_6, network, _UNEQUAL if unless else _EQUAL)


@_remembered
def destination(network: str) -> Expression:
    """`ip daddr`, `ip6 daddr`; an address or a network in CIDR notation."""
    return _address(_DESTINATION, _DESTINATION_6, network, _EQUAL)


def _address(offset: int, offset_6: int, network: str, operator: int) -> Expression:
    address, _, length = network.partition("/")
    family, size, offset = (IP6, 16, offset_6) if ":" in address else (IP, 4, offset)
    load, value = _load_payload(_NETWORK_HEADER, offset, size), socket.inet_pton(family, address)
    if length in ("", str(8 * size)):
        return load + _compare(value, operator)
    whole = (1 << 8 * size) - 1
    mask = (whole << (8 * size - int(length)) & whole).to_bytes(size, "big")
    masked = bytes(a & b for a, b in zip(value, mask, strict=True))
    return load + _mask(mask) + _compare(masked, operator)


@_remembered
def port(protocol: str, number: int) -> Expression:
    """`tcp dport` or `udp dport`."""
    of_protocol = _load_meta(16) + _compare(bytes([PROTOCOLS[protocol]]))
    return of_protocol + _load_payload(_TRANSPORT_HEADER, 2, 2) + _compare(struct.pack(">H", number))


@_remembered
def not_icmp() -> Expression:
    """`meta l4proto != icmp`: what follows the IP header begins with two ports."""
    return _load_meta(16) + _compare(bytes([PROTOCOLS["icmp"]]), _UNEQUAL)


@_remembered
def any_port(number: int, *, source: bool = False) -> Expression:
    """`th dport`, `th sport`: the port of whatever protocol has ports (`not_icmp`)."""
    return _load_payload(_TRANSPORT_HEADER, 0 if source else 2, 2) + _compare(struct.pack(">H", number))


@_remembered
def local_destination() -> Expression:
    """`fib daddr type local`: one of this host's own addresses."""
    load = _expression("fib", _number(1, _REGISTER), _number(2, 3), _number(3, 2))
    return load + _compare(struct.pack("=I", _ADDRESS_TYPE_LOCAL))


@_remembered
def connection_state(bits: int) -> Expression:
    """`ct state`: any of the bits."""
    return _connection(0, bits)


@_remembered
def connection_status(bits: int) -> Expression:
    """`ct status`: any of the bits."""
    return _connection(2, bits)


def _connection(key: int, bits: int) -> Expression:
    load = _expression("ct", _number(1, _REGISTER), _number(2, key))
    return load + _mask(struct.pack("=I", bits)) + _compare(bytes(4), _UNEQUAL)


@_remembered
def one_in(count: int) -> Expression:
    """`numgen inc mod COUNT 0`: every COUNT-th packet that comes here."""
    load = _expression("numgen", _number(1, _REGISTER), _number(2, count), _number(3, 0))
    return load + _compare(bytes(4))


# Verdicts


@_remembered
def accept() -> Expression:
    return _verdict(_ACCEPT)


@_remembered
def drop() -> Expression:
    return _verdict(_DROP)


@_remembered
def jump(chain: str) -> Expression:
    return _verdict(_JUMP, text(2, chain))


def _verdict(code: int, *target: bytes) -> Expression:
    return _immediate(0, nested(2, attribute(1, struct.pack(">i", code)), *target))


@_remembered
def reset() -> Expression:
    """`reject with tcp reset`."""
    return _expression("reject", _number(1, 1))


@_remembered
def unreachable(family: int = IP) -> Expression:
    """`reject with icmp port-unreachable`, `reject with icmpv6 port-unreachable`."""
    return _expression("reject", _number(1, 0), attribute(2, b"\x04" if family == IP6 else b"\x03"))


@_remembered
def translate_destination(address: str, number: int) -> Expression:
    """`dnat to ADDRESS:PORT`."""
    family = IP6 if ":" in address else IP
    second = _THIRD_REGISTER if family == IP6 else _SECOND_REGISTER  # an IPv6 address takes a whole old register
    to_address = _immediate(_REGISTER, attribute(1, socket.inet_pton(family, address)))
    to_port = _immediate(second, attribute(1, struct.pack(">H", number)))
    registers = _number(3, _REGISTER) + _number(5, second)
    return to_address + to_port + _expression("nat", _number(1, 1), _number(2, family), registers)


@_remembered
def masquerade() -> Expression:
    return _expression("masq")


@_remembered
def write_port(number: int, *, source: bool = False) -> Expression:
    """`@th,16,16 set NUMBER`: for packets of the loopback interface, whose checksum nobody computes."""
    written = _number(2, _TRANSPORT_HEADER) + _number(3, 0 if source else 2) + _number(4, 2) + _number(5, _REGISTER)
    return _immediate(_REGISTER, attribute(1, struct.pack(">H", number))) + _expression("payload", written)


# Objects of a batch: each is one message


def new_table(table: str, family: int = IP) -> bytes:
    return _object(NEWTABLE, NLM_F_CREATE, text(1, table), _number(2, 0), family=family)


def delete_table(table: str, family: int = IP) -> bytes:
    return _object(DELTABLE, 0, text(1, table), family=family)


def new_chain(
    table: str, chain: str, kind: str | None = None, hook: str = "", priority: int = 0, family: int = IP
) -> bytes:
    """A base chain of `kind` "filter" or "nat" at `hook`, policy accept; without kind a chain that is jumped to."""
    parts = [text(1, table), text(3, chain)]
    if kind:
        parts += [nested(4, _number(1, HOOKS[hook]), attribute(2, struct.pack(">i", priority)))]
        parts += [_number(5, _ACCEPT), text(7, kind)]
    return _object(NEWCHAIN, NLM_F_CREATE, *parts, family=family)


def new_rule(table: str, chain: str, *expressions: Expression, family: int = IP) -> bytes:
    parts = (text(1, table), text(2, chain), nested(4, *expressions))
    return _object(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, *parts, family=family)


def _object(kind: int, flags: int, *attributes: bytes, family: int = IP) -> bytes:
    return message(kind, flags, struct.pack(">BBH", family, 0, 0) + b"".join(attributes))


def is_rule(made: bytes) -> bool:
    """Whether this is what `new_rule` makes."""
    return bool(struct.unpack_from("=H", made, 4)[0] == NEWRULE)


def commit(objects: Sequence[bytes]) -> None:
    """All of them or none. Raises the OSError of the first that the kernel refused."""
    bounds = struct.pack(">BBH", socket.AF_UNSPEC, 0, NFNL_SUBSYS_NFTABLES)
    batch = message(NFNL_MSG_BATCH_BEGIN, 0, bounds) + b"".join(objects) + message(NFNL_MSG_BATCH_END, 0, bounds)
    with Netlink(NETLINK_NETFILTER) as netlink:
        netlink.socket.setsockopt(socket.SOL_SOCKET, 32, 2 * len(batch) + 65536)  # SO_SNDBUFFORCE: it is one datagram
        netlink.socket.send(batch)
        for failed in _errors(netlink):
            raise OSError(failed, os.strerror(failed))


def _errors(netlink: Netlink) -> list[int]:
    """Errnos of what was just sent. The kernel worked within the send: what it has to say is there by now."""
    found = []
    try:
        while True:
            for kind, body in messages(netlink.socket.recv(65536, socket.MSG_DONTWAIT)):
                if kind == NLMSG_ERROR and complain(body):
                    found.append(complain(body))
    except BlockingIOError:
        return found


def generation() -> int:
    """A number that changes with every transaction of anybody."""
    with Netlink(NETLINK_NETFILTER) as netlink:
        netlink.socket.send(_object(GETGEN, 0))
        for _, body in messages(netlink.socket.recv(65536)):
            (number,) = struct.unpack(">I", attributes(body[4:])[1])
            return int(number)
    raise OSError(errno.EPROTO, "no answer to a question for the generation")


def rules(table: str) -> tuple[tuple[bytes, bytes], ...]:
    """(chain, expressions) of every rule of the tables of this name, as the kernel writes them."""
    found = []
    with Netlink(NETLINK_NETFILTER) as netlink:
        for body in netlink.dump(GETRULE, struct.pack(">BBH", socket.AF_UNSPEC, 0, 0) + text(1, table)):
            fields = attributes(body[4:])
            if fields.get(1, b"").rstrip(b"\0").decode() == table:
                found.append((fields.get(2, b""), fields.get(4, b"")))
    return tuple(found)


def has_table(table: str, family: int = IP) -> bool:
    with Netlink(NETLINK_NETFILTER) as netlink:
        netlink.socket.send(_object(GETTABLE, NLM_F_ACK, text(1, table), family=family))
        failed = _errors(netlink)
    if failed and failed[0] != errno.ENOENT:
        raise OSError(failed[0], os.strerror(failed[0]))
    return not failed
