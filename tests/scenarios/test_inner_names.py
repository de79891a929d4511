"""127.0.0.11: the name server inside of a container, as programs of Docker's world ask it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import dnslib
import pytest

from orchestrator.kernel import netlink
from tests.scenarios.conftest import Pyorch

STACK = """
    name: shop
    services:
      api: {image: "host:/", command: [sleep, "100000"]}
      web: {image: "host:/", command: [sleep, "100000"], networks: [default, back], links: ["db:database"]}
      db: {image: "host:/", command: [sleep, "100000"], networks: [back]}
      alone: {image: "host:/", command: [sleep, "100000"], network_mode: none}
    networks: {back: {internal: true}}
"""


def ask(pyorch: Pyorch, container: str, name: str, *, tcp: bool = False) -> list[str]:
    """The addresses that a program of the container is told."""
    with netlink.namespace_of(pyorch.pid(container)):
        asker = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    with asker:
        asker.settimeout(5)
        asker.connect(("127.0.0.11", 53))
        assert asker.getpeername() == ("127.0.0.11", 53)
        question = dnslib.DNSRecord.question(name).pack()
        asker.sendall(len(question).to_bytes(2, "big") * tcp + question)
        said = asker.recv(4096)[2 * tcp :]
    return [str(record.rdata) for record in dnslib.DNSRecord.parse(said).rr]


@pytest.mark.parametrize("tcp", [False, True])
def test_each_container_is_answered_as_its_networks_see_it(pyorch: Pyorch, tcp: bool) -> None:
    pyorch.up(STACK)
    (api,), (db,) = ask(pyorch, "shop-api-1", "api"), ask(pyorch, "shop-db-1", "db")
    assert ask(pyorch, "shop-web-1", "api", tcp=tcp) == [api]
    assert ask(pyorch, "shop-web-1", "database", tcp=tcp) == [db], "its own link"
    assert ask(pyorch, "shop-db-1", "api", tcp=tcp) == []
    assert ask(pyorch, "shop-api-1", "db", tcp=tcp) == []
    with pytest.raises(ConnectionRefusedError):
        ask(pyorch, "shop-alone-1", "api", tcp=tcp)


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_a_name_server_of_the_containers_own_may_have_port_53_of_all_addresses(pyorch: Pyorch, address: str) -> None:
    pyorch.up(STACK)
    family = socket.AF_INET6 if address == "::" else socket.AF_INET
    with netlink.namespace_of(pyorch.pid("shop-web-1")):
        theirs = [socket.socket(family, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for each in theirs:
        each.bind((address, 53))
    theirs[1].listen()
    assert ask(pyorch, "shop-web-1", "web") and ask(pyorch, "shop-web-1", "web", tcp=True)
    asker.sendto(b"to you", ("127.0.0.1", 53))
    theirs[0].settimeout(5)
    assert theirs[0].recv(100) == b"to you"
    for each in (*theirs, asker):
        each.close()


def kill(pyorch: Pyorch, *names: str) -> None:
    status = pyorch.status()
    for name in names:
        os.kill(status[name]["pid"], signal.SIGKILL)
    pyorch.ok("agent", "start")
    pyorch.until(lambda: all(found(pyorch, name) not in (0, status[name]["pid"]) for name in names))


def found(pyorch: Pyorch, name: str) -> int:
    return int((pyorch.status().get(name) or {}).get("pid") or 0)


@pytest.mark.parametrize("dead", [("dns",), ("agent",), ("agent", "dns"), ("launcher",), ("agent", "launcher", "dns")])
def test_it_answers_again_whoever_is_killed(pyorch: Pyorch, dead: tuple[str, ...]) -> None:
    pyorch.up(STACK)
    (api,) = ask(pyorch, "shop-api-1", "api")
    kill(pyorch, *dead)

    def answered() -> bool:
        try:
            return ask(pyorch, "shop-web-1", "api") == [api]
        except ConnectionRefusedError:  # nobody is there yet
            return False

    pyorch.until(answered)
    pyorch.ok("restart", "-t", "0", "web")
    assert ask(pyorch, "shop-web-1", "api") == [api], "and from its first moment in what is started now"


def test_a_container_that_ends_leaves_nothing_with_the_name_server(pyorch: Pyorch) -> None:
    pyorch.up(STACK)
    held: Callable[[], int] = lambda: len(os.listdir(f"/proc/{pyorch.status()['dns']['pid']}/fd"))  # noqa: E731
    before = held()
    pyorch.ok("stop", "-t", "0", "web", "db")
    pyorch.until(lambda: held() == before - 2 * 3)
    pyorch.ok("start", "web", "db")
    pyorch.until(lambda: held() == before)
