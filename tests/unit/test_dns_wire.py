"""The message format, with dnslib as the independent witness."""

from __future__ import annotations

import contextlib
import socket

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dns import wire

labels = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_", min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=3).map(".".join)


@given(names, st.sampled_from(["A", "AAAA", "PTR", "MX", "HTTPS"]), st.integers(0, 65535), st.booleans())
def test_what_dnslib_writes_is_read(name: str, kind: str, identity: int, edns: bool) -> None:
    asked = dnslib.DNSRecord(
        dnslib.DNSHeader(id=identity, rd=1), q=dnslib.DNSQuestion(name, getattr(dnslib.QTYPE, kind))
    )
    if edns:
        asked.add_ar(dnslib.EDNS0(udp_len=4096))
    query = wire.parse(asked.pack())
    assert (query.identity, query.name, query.kind) == (identity, name.lower(), getattr(dnslib.QTYPE, kind))
    assert query.datagram == (4096 if edns else None)


@given(names, st.lists(st.ip_addresses(v=4).map(str), max_size=200), st.booleans(), st.booleans())
def test_what_is_written_dnslib_reads(name: str, addresses: list[str], edns: bool, stream: bool) -> None:
    asked = dnslib.DNSRecord.question(name)
    if edns:
        asked.add_ar(dnslib.EDNS0(udp_len=4096))
    query = wire.parse(asked.pack())
    packed = wire.reply(query, wire.NOERROR, [(wire.A, socket.inet_aton(a)) for a in addresses], stream=stream)
    reply = dnslib.DNSRecord.parse(packed)
    given_back = [str(record.rdata) for record in reply.rr]
    assert given_back == addresses[: len(given_back)]
    assert str(reply.q.qname).rstrip(".") == name, "the asker's own mixture of cases"
    assert bool(reply.header.tc) == (len(given_back) < len(addresses))
    assert len(packed) <= (65535 if stream else 1232 if edns else 512)


@given(st.binary(max_size=600))
def test_garbage_is_malformed_and_nothing_worse(message: bytes) -> None:
    with contextlib.suppress(wire.Malformed):
        wire.parse(message)


@given(st.binary(min_size=1, max_size=100), st.integers(0, 60))
def test_a_damaged_query_is_malformed_or_still_a_query(damage: bytes, at: int) -> None:
    message = dnslib.DNSRecord.question("db.shop.example.org").pack()
    try:
        query = wire.parse(message[:at] + damage + message[at + len(damage) :])
        wire.reply(query, wire.NXDOMAIN)
    except wire.Malformed:
        pass


@pytest.mark.parametrize(
    "message",
    [
        b"\0\1\1\0\0\0\0\0\0\0\0\0",  # no question
        b"\0\1\1\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1\1b\0\0\1\0\1",  # two
        b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",  # a name that points to itself
        b"\0\1\1\0\0\1\0\0\0\0\0\0"
        + b"\x3f"
        + b"a" * 63
        + b"\x3f"
        + b"a" * 63
        + b"\x3f"
        + b"a" * 63
        + b"\x3f"
        + b"a" * 63,
    ],
)
def test_what_is_not_one_question_is_malformed(message: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.parse(message)


def test_an_unknown_version_of_edns_is_said_to_be_unknown() -> None:
    asked = dnslib.DNSRecord.question("db")
    asked.add_ar(dnslib.EDNS0(version=1))
    query = wire.parse(asked.pack())
    reply = dnslib.DNSRecord.parse(wire.reply(query, wire.BADVERS))
    assert (query.version, reply.header.rcode, reply.ar[0].ttl >> 24) == (1, 0, 1)
