"""The server itself, its zones on 127.0.0.0/8 and a port of its own: the test asks, lets it take a turn, and reads."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import dnslib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.dns import streams, upstream
from orchestrator.dns.server import Server
from orchestrator.network.zones import Member, Zone, render
from tests.effort import examples

FRONT = Zone("shop_front", "b0", "127.1.0.0/24", "127.1.0.1", names=("nobody",))
BACK = Zone("shop_back", "b1", "127.1.1.0/24", "127.1.1.1", internal=True)
RESOLVER = "127.9.9.9"


class Names:
    """A server and its clients, one thread."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        (directory / "zones").mkdir()
        (directory / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        self.resolver = bound(RESOLVER, socket.SOCK_DGRAM, port)
        self.server = Server(
            str(directory / "zones"), str(directory / "dns.status"),
            port=port, upstream=port, resolvers=str(directory / "resolv.conf"),
        )  # fmt: skip

    def tell(self, zones: list[Zone], members: list[Member]) -> None:
        for file in (self.directory / "zones").iterdir():
            file.unlink()
        for bridge, text in render(zones, members).items():
            (self.directory / "zones" / f"{bridge}.json.new").write_text(text)
            os.replace(self.directory / "zones" / f"{bridge}.json.new", self.directory / "zones" / f"{bridge}.json")
        self.server.reload()

    def send(self, message: bytes, client: str, gateway: str = FRONT.gateway) -> socket.socket:
        """Ask, and let the server see to it."""
        asker = bound(client, socket.SOCK_DGRAM, 0)
        asker.sendto(message, (gateway, self.port))
        self.server.loop.turn()
        return asker

    def ask(
        self, name: str, kind: str = "A", client: str = "127.1.0.2", gateway: str = FRONT.gateway
    ) -> dnslib.DNSRecord:
        with self.send(dnslib.DNSRecord.question(name, kind).pack(), client, gateway) as asker:
            return dnslib.DNSRecord.parse(asker.recv(4096))

    def addresses(self, name: str, **more: str) -> list[str]:
        return [str(record.rdata) for record in self.ask(name, **more).rr]

    def code(self, name: str, **more: str) -> str:
        return str(dnslib.RCODE[self.ask(name, **more).header.rcode])

    def status(self) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = json.loads((self.directory / "dns.status").read_text())["zones"]
        return found


def bound(address: str, kind: int, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.bind((address, port))
    made.settimeout(5)
    return made


def member(name: str, service: str, **addresses: str) -> Member:
    return Member(f"{name:_>12}", name, service, name, addresses)


MEMBERS = [
    member("shop-web-1", "web", b0="127.1.0.2", b1="127.1.1.2"),
    member("shop-web-2", "web", b0="127.1.0.3"),
    member("shop-db-1", "db", b1="127.1.1.3"),
]


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    with bound("127.0.0.1", socket.SOCK_DGRAM, 0) as free:
        port = free.getsockname()[1]
    made = Names(tmp_path, port)
    made.tell([FRONT, BACK], MEMBERS)
    yield made
    made.tell([], [])
    made.resolver.close()


def test_the_answers_of_a_service_rotate(names: Names) -> None:
    turns = [names.addresses("web") for _ in range(4)]
    assert [turn[0] for turn in turns] == ["127.1.0.2", "127.1.0.3"] * 2
    assert {tuple(sorted(turn)) for turn in turns} == {("127.1.0.2", "127.1.0.3")}


def test_case_does_not_matter_and_is_kept(names: Names) -> None:
    reply = names.ask("ShOp-WEB-1")
    assert str(reply.q.qname) == str(reply.rr[0].rname) == "ShOp-WEB-1."


def test_a_name_may_carry_its_network(names: Names) -> None:
    assert names.addresses("shop-web-2.shop_front") == ["127.1.0.3"]


def test_a_client_of_two_networks_hears_the_names_of_both_the_asked_one_first(names: Names) -> None:
    assert names.addresses("db", client="127.1.0.2") == ["127.1.1.3"]
    assert names.addresses("web", client="127.1.1.2", gateway=BACK.gateway) == ["127.1.1.2"]


def test_a_client_of_one_network_hears_no_names_of_the_other(names: Names) -> None:
    assert names.code("db", client="127.1.0.3") == "NXDOMAIN"
    assert names.code("shop-web-2", client="127.1.1.3", gateway=BACK.gateway) == "NXDOMAIN"


def test_there_is_no_ipv6_and_that_is_no_missing_name(names: Names) -> None:
    for kind in ("AAAA", "MX"):
        reply = names.ask("web", kind)
        assert (reply.header.rcode, reply.rr) == (0, [])
    assert names.code("nobody") == "NOERROR"


def test_an_address_has_the_name_of_its_container(names: Names) -> None:
    assert str(names.ask("3.0.1.127.in-addr.arpa", "PTR").rr[0].rdata) == "shop-web-2.shop_front."
    assert names.code("9.0.1.127.in-addr.arpa", kind="PTR") == "NXDOMAIN"


def test_strangers_are_not_answered(names: Names) -> None:
    names.send(dnslib.DNSRecord.question("web").pack(), "127.7.7.7").close()
    with names.send(dnslib.DNSRecord.question("web").pack(), "127.7.7.7") as asker:
        names.ask("web")  # it goes on
        asker.settimeout(0)
        with pytest.raises(BlockingIOError):
            asker.recv(512)


def test_an_answer_is_never_answered(names: Names) -> None:
    with names.send(dnslib.DNSRecord.question("web").reply().pack(), "127.1.0.2") as asker:
        names.ask("web")
        asker.settimeout(0)
        with pytest.raises(BlockingIOError):
            asker.recv(512)


def test_a_change_is_heard_at_once(names: Names) -> None:
    assert len(names.addresses("web")) == 2
    names.tell([FRONT, BACK], MEMBERS[:1])
    assert names.addresses("web") == ["127.1.0.2"]


def test_a_zone_that_is_gone_is_no_longer_answered_on(names: Names) -> None:
    names.tell([FRONT], MEMBERS)
    assert set(names.status()) == {"b0"}
    bound(BACK.gateway, socket.SOCK_DGRAM, names.port).close()  # its address is free


def test_a_taken_address_is_told_and_tried_again(names: Names) -> None:
    third = Zone("late", "b2", "127.1.2.0/24", "127.1.2.1")
    with bound(third.gateway, socket.SOCK_DGRAM, names.port):
        names.tell([FRONT, BACK, third], MEMBERS)
        sentence = f"cannot answer names on 127.1.2.1:{names.port}: Address already in use"
        assert names.status()["b2"] == {"gateway": "127.1.2.1", "listening": False, "error": sentence}
        assert names.addresses("shop-web-2") == ["127.1.0.3"]
    names.server.reload()
    assert names.status()["b2"] == {"gateway": "127.1.2.1", "listening": True, "error": None}


def test_a_broken_zone_file_leaves_the_zone_as_it_was(names: Names) -> None:
    (names.directory / "zones" / "b0.json").write_text('{"network": "shop_front"')
    names.server.reload()
    assert len(names.addresses("web")) == 2
    assert "cannot read zone b0.json" in str(names.status()["b0"]["error"])


def test_other_names_are_asked_of_the_hosts_resolvers(names: Names) -> None:
    with names.send(dnslib.DNSRecord.question("example.org").pack(), "127.1.0.3") as asker:
        forwarded, back = names.resolver.recvfrom(512)
        reply = dnslib.DNSRecord.parse(forwarded).reply()
        reply.add_answer(*dnslib.RR.fromZone("example.org 60 A 192.0.2.7"))
        names.resolver.sendto(reply.pack(), back)
        names.server.loop.turn()
        assert str(dnslib.DNSRecord.parse(asker.recv(512)).rr[0].rdata) == "192.0.2.7"
    assert not names.server.upstream.pending
    assert not names.server.upstream.of_client


def test_only_the_resolver_that_was_asked_is_believed_and_only_about_the_question(names: Names) -> None:
    with names.send(dnslib.DNSRecord.question("example.org").pack(), "127.1.0.3"):
        forwarded, back = names.resolver.recvfrom(512)
        asked = dnslib.DNSRecord.parse(forwarded)
        wrong_id, wrong_name = asked.reply(), dnslib.DNSRecord.question("evil.org").reply()
        wrong_id.header.id ^= 1
        wrong_name.header.id = asked.header.id
        for forged in (wrong_id, wrong_name):
            names.resolver.sendto(forged.pack(), back)
            names.server.loop.turn()
        with bound("127.7.7.7", socket.SOCK_DGRAM, names.port) as forger:
            forger.sendto(asked.reply().pack(), back)
        assert len(names.server.upstream.pending) == 1


def test_identities_towards_the_resolver_are_not_the_clients(names: Names) -> None:
    message = dnslib.DNSRecord.question("example.org").pack()
    seen = set()
    for _ in range(8):
        names.send(message, "127.1.0.3").close()
        forwarded, back = names.resolver.recvfrom(512)
        seen.add((forwarded[:2], back[1]))
    assert len({identity for identity, _ in seen}) > 1
    assert len({port for _, port in seen}) > 1


def test_without_a_resolver_the_client_is_told_so_at_once(names: Names) -> None:
    (names.directory / "resolv.conf").write_text("")
    assert names.code("example.org", client="127.1.0.3") == "SERVFAIL"
    names.resolver.close()  # and where nobody listens, the refusal comes back by the socket
    (names.directory / "resolv.conf").write_text(f"nameserver {RESOLVER}\n# changed\n")
    with names.send(dnslib.DNSRecord.question("example.org").pack(), "127.1.0.3") as asker:
        while names.server.upstream.pending:
            names.server.loop.turn()
        assert dnslib.DNSRecord.parse(asker.recv(512)).header.rcode == dnslib.RCODE.SERVFAIL


def test_an_internal_network_hears_nothing_of_the_outside(names: Names) -> None:
    assert names.code("example.org", client="127.1.1.3", gateway=BACK.gateway) == "NXDOMAIN"


def test_a_name_of_one_word_never_leaves(names: Names) -> None:
    assert names.code("postgres") == "NXDOMAIN"
    assert not names.server.upstream.pending


def test_one_client_cannot_use_up_all_questions(names: Names) -> None:
    for n in range(upstream.MOST_PENDING_OF_ONE):
        names.send(dnslib.DNSRecord.question(f"n{n}.org").pack(), "127.1.0.3").close()
    assert names.code("one-more.org", client="127.1.0.3") == "SERVFAIL"
    names.send(dnslib.DNSRecord.question("other.org").pack(), "127.1.0.2").close()
    assert len(names.server.upstream.pending) == upstream.MOST_PENDING_OF_ONE + 1


def stream(names: Names, client: str = "127.1.0.2") -> socket.socket:
    made = bound(client, socket.SOCK_STREAM, 0)
    made.connect((FRONT.gateway, names.port))
    names.server.loop.turn()
    return made


def test_tcp_answers_in_pieces_and_more_than_once(names: Names) -> None:
    message = dnslib.DNSRecord.question("shop-web-2").pack()
    framed = len(message).to_bytes(2, "big") + message
    with stream(names) as client:
        for piece in (framed[:1], framed[1:7], framed[7:] + framed):
            client.sendall(piece)
            names.server.loop.turn()
        for _ in range(2):
            length = int.from_bytes(client.recv(2), "big")
            assert str(dnslib.DNSRecord.parse(client.recv(length)).rr[0].rdata) == "127.1.0.3"


def test_idle_connections_hold_nobody_up(names: Names) -> None:
    idle = [stream(names) for _ in range(streams.MOST_OF_ONE + 4)]
    assert len(names.server.streams.open) == streams.MOST_OF_ONE
    assert idle[0].recv(1) == b"", "the oldest was closed"
    assert names.addresses("shop-web-2") == ["127.1.0.3"]
    for client in idle:
        client.close()
    while names.server.streams.open:
        names.server.loop.turn()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(200), deadline=None)
@given(st.binary(max_size=600))
def test_garbage_does_no_harm(names: Names, message: bytes) -> None:
    names.send(message, "127.1.0.3").close()
    while names.server.upstream.pending:  # a random message that happens to be a question
        next(iter(names.server.upstream.pending)).next()
    assert names.addresses("shop-web-2") == ["127.1.0.3"]
