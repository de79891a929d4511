"""Subnets and addresses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import Conflict, Mistake
from orchestrator.network import pool6
from orchestrator.network.pool import POOLS, choose_address, choose_subnet, gateway, mac


def test_the_first_subnet_is_the_pools_first() -> None:
    assert choose_subnet(None, ["0.0.0.0/0"]) == "172.24.0.0/24"


@given(st.lists(st.tuples(st.ip_addresses(v=4), st.integers(10, 32)).map(lambda n: f"{n[0]}/{n[1]}"), max_size=30))
def test_a_chosen_subnet_overlaps_nothing_taken(taken: list[str]) -> None:
    chosen = ipaddress.ip_network(choose_subnet(None, taken))
    assert not any(chosen.overlaps(ipaddress.ip_network(net, strict=False)) for net in taken)


def test_a_wanted_subnet_is_obeyed_or_the_overlap_is_named() -> None:
    assert choose_subnet("10.5.0.0/16", ["10.6.0.0/16"]) == "10.5.0.0/16"
    with pytest.raises(Conflict, match=r"cannot use subnet 10\.5\.0\.0/16: it overlaps 10\.5\.7\.0/24"):
        choose_subnet("10.5.0.0/16", ["10.5.7.0/24"])


@pytest.mark.parametrize("written", ["ten", "10.5.0.0/33", "10.5.0.0/31", "fd00::/64"])
def test_what_is_no_subnet_is_a_mistake(written: str) -> None:
    with pytest.raises(Mistake, match="cannot use subnet"):
        choose_subnet(written, [])


def test_an_exhausted_pool_says_so() -> None:
    with pytest.raises(Conflict, match="address pool exhausted"):
        choose_subnet(None, map(str, POOLS))


def test_addresses_go_round_so_that_a_freed_one_comes_last() -> None:
    subnet, taken, last, given_out = "10.1.0.0/29", set[str](), None, []
    for _ in range(5):
        last = choose_address(subnet, taken, last)
        taken.add(last)
        given_out.append(last)
    assert given_out == [f"10.1.0.{n}" for n in range(2, 7)]
    with pytest.raises(Conflict, match=r"address pool exhausted, all 5 of 10\.1\.0\.0/29 are taken"):
        choose_address(subnet, taken, last)
    taken -= {"10.1.0.3", "10.1.0.5"}
    assert choose_address(subnet, taken, "10.1.0.3") == "10.1.0.5"
    assert choose_address(subnet, taken, "10.1.0.5") == "10.1.0.3"


@given(st.integers(8, 29), st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_an_address_lies_in_its_subnet_wherever_the_last_one_was(length: int, base: object, after: object) -> None:
    network = ipaddress.ip_network(f"{base}/{length}", strict=False)
    chosen = ipaddress.ip_address(choose_address(str(network), set(), str(after)))
    assert chosen in network
    assert chosen not in (network.network_address, network.network_address + 1, network.broadcast_address)


def test_the_gateway_is_the_first_address_and_a_mac_goes_with_each() -> None:
    assert gateway("10.1.0.0/24") == "10.1.0.1/24"
    assert mac("10.1.0.5") == "02:42:0a:01:00:05"


def test_ipv6_addresses_follow_from_those_of_ipv4() -> None:
    assert pool6.subnet("1a2b3c", 17) == "fd1a:2b3c:0:11::/64"
    assert pool6.gateway("fd1a:2b3c:0:11::/64") == "fd1a:2b3c:0:11::1"
    assert pool6.address("fd99::/64", "10.1.0.9", "10.1.0.0/16") == "fd99::9"
    assert pool6.address("fd99::/64", "10.1.2.1", "10.1.0.0/16") == "fd99::201"
