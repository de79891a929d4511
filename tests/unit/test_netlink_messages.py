"""Netlink messages: what is packed can be read again, and the kernel's own lists are read without rights."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kernel import netlink, nftables
from orchestrator.network import bridges


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_are_read_as_they_were_written(wanted: dict[int, bytes]) -> None:
    packed = b"".join(netlink.attribute(kind, value) for kind, value in wanted.items())
    assert len(packed) % 4 == 0
    assert netlink.attributes(packed) == wanted


@given(st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=40)), max_size=8))
def test_messages_of_one_datagram_are_taken_apart(wanted: list[tuple[int, bytes]]) -> None:
    datagram = b"".join(m + bytes(-len(m) % 4) for m in (netlink.message(kind, 0, body) for kind, body in wanted))
    assert list(netlink.messages(datagram)) == wanted


@given(st.binary(max_size=200))
def test_garbage_ends_the_reading(data: bytes) -> None:
    list(netlink.messages(data))
    netlink.attributes(data)


def test_loopback_is_among_the_links_and_its_address_among_the_addresses() -> None:
    with netlink.Netlink() as kernel:
        assert (1, "lo") in [(link.number, link.name) for link in netlink.links(kernel)]
        assert (1, "127.0.0.1/8") in list(netlink.addresses(kernel))
        assert "0.0.0.0/0" not in bridges.host_routes()


def test_a_match_of_a_whole_address_needs_no_mask_and_a_network_does() -> None:
    assert b"bitwise" not in nftables.destination("10.1.0.2")
    assert b"bitwise" in nftables.destination("10.1.0.0/24")
    assert socket.inet_aton("10.1.0.0") in nftables.destination("10.1.0.9/24")
