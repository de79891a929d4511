"""Networks on the real kernel: who reaches whom, and as whom. In a network namespace of the test's own."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from orchestrator.errors import HostRefused
from orchestrator.network import attach, bridges, firewall, pool, ports
from orchestrator.network.firewall import Network, Publication
from tests.scenarios.own_network import SILENCE, Box, Machine, connect, listen, machine, visitor

TABLE = "pyorch_test"
SHOP, OFFICE, VAULT = (
    Network("shop0", "10.9.1.0/24"),
    Network("office0", "10.9.2.0/24"),
    Network("vault0", "10.9.3.0/24", True),
)
NETWORKS = (SHOP, OFFICE, VAULT)


@pytest.fixture
def here() -> Iterator[Machine]:
    with machine() as made:
        for network in NETWORKS:
            bridges.make(network.bridge, pool.gateway(network.subnet))
        firewall.apply(TABLE, NETWORKS, ())
        yield made


@pytest.fixture
def web(here: Machine) -> Iterator[tuple[Box, socket.socket]]:
    """A container in the shop that listens on port 80."""
    box = here.box("shop0", "10.9.1.2")
    with box.listen(80) as server:
        yield box, server


@contextlib.contextmanager
def published(*publications: Publication) -> Iterator[None]:
    """As the agent does it: the ports are held, the rules applied."""
    with contextlib.ExitStack() as held:
        for one in publications:
            held.enter_context(ports.hold(one.host_ip, one.port, one.protocol))
        firewall.apply(TABLE, NETWORKS, publications)
        yield


def reaches(client: Box, address: str, port: int = 80) -> bool:
    client.connect(address, port).close()
    return True


def cut_off(client: Box, address: str, port: int = 80) -> bool:
    """Nothing comes back, not even a refusal."""
    with pytest.raises(TimeoutError):
        client.connect(address, port, SILENCE)
    return True


def test_a_container_has_its_address_its_default_route_and_loopback_and_no_ipv6(here: Machine) -> None:
    box = here.box("shop0", "10.9.1.2")
    with box.inside(), IPRoute() as ip:
        index = ip.link_lookup(ifname="eth0")[0]
        assert ip.get_links(index)[0].get_attr("IFLA_ADDRESS") == pool.mac("10.9.1.2")
        found = {(a["index"], a.get_attr("IFA_ADDRESS"), a["prefixlen"]) for a in ip.get_addr()}
        assert {entry for entry in found if entry[0] == index} == {(index, "10.9.1.2", 24)}
        assert (1, "127.0.0.1", 8) in found
        assert [r.get_attr("RTA_GATEWAY") for r in ip.get_default_routes(family=socket.AF_INET)] == ["10.9.1.1"]
    with IPRoute() as ip:
        assert not [a for a in ip.get_addr(family=socket.AF_INET6) if a["index"] in bridges.listing("test").values()]


def test_making_a_bridge_again_changes_nothing_and_a_new_gateway_replaces_the_old(here: Machine) -> None:
    index = bridges.listing("shop0")["shop0"]
    assert bridges.make("shop0", "10.9.1.1/24") == index
    assert bridges.make("shop0", "10.9.7.1/24") == index
    with IPRoute() as ip:
        assert [a.get_attr("IFA_LOCAL") for a in ip.get_addr(index=index)] == ["10.9.7.1"]


def test_networks_and_routes_of_the_host_are_named(here: Machine) -> None:
    assert {"10.9.1.0/24", "192.0.2.0/24"} <= set(bridges.host_routes())
    assert set(bridges.listing("sho")) == {"shop0"}
    bridges.drop("shop0")
    bridges.drop("shop0")
    assert not bridges.listing("shop0")


def test_a_failed_attach_leaves_nothing_behind(here: Machine) -> None:
    box, shop = here.box("shop0", "10.9.1.2"), bridges.listing("shop0")["shop0"]
    before = bridges.listing("")
    with pytest.raises(HostRefused, match=r"cannot attach process \d+ to its network as 10\.9\.1\.3/24"):
        attach.attach(
            box.pid, host_name="late", bridge_index=shop, address="10.9.1.3/24", gateway="203.0.113.1",
            inside="eth1", mac=pool.mac("10.9.1.3"),
        )  # fmt: skip
    assert bridges.listing("") == before


def test_a_detached_container_is_alone(here: Machine) -> None:
    box = here.box("shop0", "10.9.1.2")
    attach.detach(box.links[0])
    attach.detach(box.links[0])
    with box.inside(), IPRoute() as ip:
        assert not ip.link_lookup(ifname="eth0")


def test_neighbours_of_one_network_see_each_other_as_they_are(here: Machine, web: tuple[Box, socket.socket]) -> None:
    client = here.box("shop0", "10.9.1.3")
    client.connect("10.9.1.2", 80).close()
    assert visitor(web[1]) == "10.9.1.3"


@pytest.mark.parametrize(("bridge", "address"), [("office0", "10.9.2.2"), ("vault0", "10.9.3.2")])
def test_containers_without_a_common_network_do_not(
    here: Machine, web: tuple[Box, socket.socket], bridge: str, address: str
) -> None:
    other = here.box(bridge, address)
    with other.listen(80):
        assert cut_off(other, "10.9.1.2")
        assert cut_off(web[0], address)


def test_a_container_in_two_networks_is_seen_in_both(here: Machine, web: tuple[Box, socket.socket]) -> None:
    here.box("office0", "10.9.2.9", inside="eth1", routed=False, box=web[0])
    assert reaches(here.box("office0", "10.9.2.2"), "10.9.2.9")
    assert reaches(here.box("shop0", "10.9.1.3"), "10.9.1.2")


def test_the_world_outside_sees_the_hosts_address(here: Machine) -> None:
    box = here.box("shop0", "10.9.1.2")
    with here.neighbour.listen(80) as server:
        box.connect("192.0.2.2", 80).close()
        assert visitor(server) == "192.0.2.1"


def test_nobody_outside_reaches_a_containers_own_address(here: Machine, web: tuple[Box, socket.socket]) -> None:
    with here.neighbour.inside(), IPRoute() as ip:
        ip.route("add", dst="10.9.1.0/24", gateway="192.0.2.1")
    with published(Publication("0.0.0.0", 8080, "tcp", (("10.9.1.2", 80),))):
        assert cut_off(here.neighbour, "10.9.1.2")
        assert reaches(here.neighbour, "192.0.2.1", 8080)


def test_an_internal_network_has_no_outside(here: Machine) -> None:
    box = here.box("vault0", "10.9.3.2")
    with here.neighbour.listen(80), box.listen(80):
        assert cut_off(box, "192.0.2.2")
        assert reaches(here.box("vault0", "10.9.3.3"), "10.9.3.2")
        with published(Publication("0.0.0.0", 8080, "tcp", (("10.9.3.2", 80),))):
            with pytest.raises(ConnectionRefusedError):
                connect("127.0.0.1", 8080)
            with pytest.raises(ConnectionRefusedError):
                here.neighbour.connect("192.0.2.1", 8080)


def test_a_port_on_loopback_is_for_this_host_alone(here: Machine, web: tuple[Box, socket.socket]) -> None:
    with published(Publication("127.0.0.1", 8080, "tcp", (("10.9.1.2", 80),))):
        with connect("127.0.0.1", 8080) as client:
            connection, (address, _) = web[1].accept()
            with connection:
                client.sendall(b"ping")
                assert connection.recv(16) == b"ping"
                connection.sendall(b"pong")
                assert client.recv(16) == b"pong"
            assert address == "10.9.1.1"
        for outside in (here.neighbour, web[0]):
            with pytest.raises(ConnectionRefusedError):
                outside.connect("192.0.2.1", 8080)


def test_a_port_on_all_addresses_is_for_everybody(here: Machine, web: tuple[Box, socket.socket]) -> None:
    with published(Publication("0.0.0.0", 8080, "tcp", (("10.9.1.2", 80),))):
        connect("127.0.0.1", 8080).close()
        assert visitor(web[1]) == "10.9.1.1"
        connect("192.0.2.1", 8080).close()
        assert visitor(web[1]) == "192.0.2.1"
        here.neighbour.connect("192.0.2.1", 8080).close()
        assert visitor(web[1]) == "192.0.2.2"
        here.box("office0", "10.9.2.2").connect("10.9.2.1", 8080).close()
        visitor(web[1])


def test_a_port_on_one_address_is_published_there_only(here: Machine, web: tuple[Box, socket.socket]) -> None:
    with published(Publication("192.0.2.1", 8080, "tcp", (("10.9.1.2", 80),))):
        connect("192.0.2.1", 8080).close()
        here.neighbour.connect("192.0.2.1", 8080).close()
        with pytest.raises(ConnectionRefusedError):
            connect("127.0.0.1", 8080)


def test_a_published_port_on_the_way_to_somebody_else_is_left_alone(
    here: Machine, web: tuple[Box, socket.socket]
) -> None:
    with published(Publication("0.0.0.0", 8080, "tcp", (("10.9.1.2", 80),))), here.neighbour.listen(8080) as far:
        here.box("shop0", "10.9.1.3").connect("192.0.2.2", 8080).close()
        assert visitor(far) == "192.0.2.1"


@pytest.mark.parametrize("bridged", ["0", "1"])
def test_a_container_reaches_its_own_published_port_and_its_neighbours(
    here: Machine, web: tuple[Box, socket.socket], bridged: str
) -> None:
    netfilter_in_bridges = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")  # br_netfilter, where it is loaded
    if netfilter_in_bridges.exists():
        netfilter_in_bridges.write_text(bridged)
    with published(Publication("0.0.0.0", 8080, "tcp", (("10.9.1.2", 80),))):
        for client in (web[0], here.box("shop0", "10.9.1.3")):
            client.connect("192.0.2.1", 8080).close()
            assert visitor(web[1]) == "10.9.1.1"


def test_targets_take_turns(here: Machine) -> None:
    boxes = [here.box("shop0", f"10.9.1.{n}") for n in (2, 3, 4)]
    with contextlib.ExitStack() as undo:
        servers = [undo.enter_context(box.listen(80)) for box in boxes]
        undo.enter_context(published(Publication("127.0.0.1", 8080, "tcp", tuple((box.address, 80) for box in boxes))))
        seen = Counter(who_answers(servers) for _ in range(9))
    assert seen == {0: 3, 1: 3, 2: 3}


def who_answers(servers: Sequence[socket.socket]) -> int:
    """Which of the servers the next connection to 127.0.0.1:8080 ends at."""
    with connect("127.0.0.1", 8080):
        for number, server in enumerate(servers):
            server.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                visitor(server)
                return number
    raise AssertionError("nobody was asked")


def test_udp_is_published_too(here: Machine) -> None:
    box = here.box("shop0", "10.9.1.2")
    there = Publication("127.0.0.1", 5300, "udp", (("10.9.1.2", 53),))
    with box.listen(53, "udp") as server, published(there), datagrams("127.0.0.1", 5300) as client:
        client.send(b"ping")
        message, client_seen = server.recvfrom(16)
        server.sendto(b"pong", client_seen)
        assert (message, client.recv(16)) == (b"ping", b"pong")


@contextlib.contextmanager
def datagrams(address: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((address, port))
        yield client


def test_without_a_container_connections_are_refused_at_once(here: Machine) -> None:
    with published(Publication("0.0.0.0", 8080, "tcp"), Publication("127.0.0.1", 5300, "udp")):
        for ask in (connect, here.neighbour.connect):
            with pytest.raises(ConnectionRefusedError):
                ask("192.0.2.1", 8080)
        with datagrams("127.0.0.1", 5300) as client, pytest.raises(ConnectionRefusedError):
            client.send(b"ping")
            client.recv(16)


def test_a_udp_flow_follows_its_port_to_a_new_container_once_the_old_is_forgotten(here: Machine) -> None:
    old, new = here.box("shop0", "10.9.1.2"), here.box("shop0", "10.9.1.3")
    before, after = (Publication("0.0.0.0", 5300, "udp", ((box.address, 53),)) for box in (old, new))
    with (
        old.listen(53, "udp") as first,
        new.listen(53, "udp") as second,
        published(before),
        datagrams("192.0.2.1", 5300) as client,
    ):
        client.send(b"one")
        assert first.recv(16) == b"one"
        firewall.apply(TABLE, NETWORKS, [after])
        assert firewall.forget([old.address]) == 1
        client.send(b"two")
        assert second.recv(16) == b"two"


def test_what_the_administrator_drops_stays_dropped(here: Machine, web: tuple[Box, socket.socket]) -> None:
    nft = need("nft")
    hook = "type filter hook forward priority -10"
    rules = f"table inet admin {{\n chain f {{\n {hook};\n ip daddr 10.9.1.2 tcp dport 80 drop\n }}\n }}\n"
    subprocess.run([nft, "-f", "-"], input=rules, text=True, check=True)
    with published(Publication("0.0.0.0", 8080, "tcp", (("10.9.1.2", 80),))):
        assert cut_off(here.neighbour, "192.0.2.1", 8080)
    firewall.remove(TABLE)
    listed = subprocess.run([nft, "list", "tables"], check=True, capture_output=True, text=True).stdout
    assert listed.split("\n") == ["table inet admin", ""]


def test_nft_reads_our_rules_as_we_mean_them(here: Machine) -> None:
    targets = (("10.9.1.2", 80), ("10.9.1.3", 80))
    firewall.apply(TABLE, NETWORKS, [Publication("127.0.0.1", 8080, "tcp", targets), Publication("0.0.0.0", 53, "udp")])
    nft = need("nft")
    listed = subprocess.run([nft, "list", "table", TABLE], check=True, capture_output=True, text=True).stdout
    lines = [line.strip() for line in listed.splitlines()]
    for rule in (
        'iifname "shop0" ip saddr != 10.9.1.0/24 drop',
        "ip daddr 127.0.0.1 tcp dport 8080 numgen inc mod 2 0 dnat to 10.9.1.2:80",
        "ip daddr 127.0.0.1 tcp dport 8080 dnat to 10.9.1.3:80",
        'ip saddr 10.9.1.0/24 oifname != "shop0" masquerade',
        "ip daddr 127.0.0.1 tcp dport 8080 reject with tcp reset",
        "ct state established,related accept",
        'iifname "vault0" drop',
    ):
        assert rule in lines


def need(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if not found:
        pytest.skip(f"needs {program}")
    return found


def test_a_table_is_there_until_it_is_removed(here: Machine) -> None:
    assert firewall.present(TABLE)
    firewall.remove(TABLE)
    firewall.remove(TABLE)
    assert not firewall.present(TABLE)


@pytest.mark.parametrize(
    ("source", "destination", "arrives"),
    [
        ("10.9.1.2", "10.9.1.1", True),  # the frame is a good one
        ("10.9.1.2", "127.0.0.1", False),
        ("10.9.2.7", "10.9.1.1", False),
    ],
)
def test_a_container_speaks_neither_to_the_hosts_loopback_nor_in_anothers_name(
    here: Machine, source: str, destination: str, arrives: bool
) -> None:
    box, gateway_mac = here.box("shop0", "10.9.1.2"), b"\x02p\x0a\x09\x01\x01"
    udp = struct.pack("!HHHH", 7, 9999, 12, 0) + b"ping"
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, *map(socket.inet_aton, (source, destination))
    )
    total = sum(struct.unpack("!10H", header))
    header = header[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + header[12:]
    with listen(destination, 9999, "udp") as server:
        with box.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0800) as raw:
            raw.bind(("eth0", 0x0800))
            raw.send(gateway_mac + bytes.fromhex(pool.mac("10.9.1.2").replace(":", "")) + b"\x08\x00" + header + udp)
        if arrives:
            assert server.recv(16) == b"ping"
        else:
            server.settimeout(SILENCE)
            with pytest.raises(TimeoutError):
                server.recv(16)
