"""The dns process as the agent starts it, asked from inside containers. In a network namespace of the test's own."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dnslib
import pytest
from pyroute2 import IPRoute

import orchestrator
from orchestrator.network import bridges, firewall
from orchestrator.network.firewall import Network, Publication
from orchestrator.network.zones import Member, Zone, render
from orchestrator.root import Root
from tests.scenarios.own_network import PATIENCE, SILENCE, Box, Machine, machine

START = "import sys; sys.path.insert(0, {!r}); from orchestrator.dns.main import main; sys.exit(main(sys.argv[1:]))"
PROGRAM = START.format(str(Path(orchestrator.__file__).parents[1]))


@pytest.fixture
def here() -> Iterator[Machine]:
    with machine() as made:
        yield made


@pytest.fixture
def root() -> Iterator[Root]:
    with tempfile.TemporaryDirectory(prefix="pyorch-") as directory:
        made = Root(directory)
        os.makedirs(made.zones)
        yield made


@pytest.fixture
def dns(here: Machine, root: Root) -> Iterator[int]:
    with running(root) as pid:
        yield pid


@contextlib.contextmanager
def running(root: Root) -> Iterator[int]:
    """A dns process that answers, by its pid; told to end afterwards, which it must do."""
    done = start(root)
    assert done.returncode == 0, done.stderr
    pid = int(Path(root.run, "dns.lock").read_text())
    end = os.pidfd_open(pid)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(end, signal.SIGTERM)
        assert select.select([end], [], [], PATIENCE)[0], "it did not end"
        os.close(end)


def start(root: Root) -> subprocess.CompletedProcess[str]:
    """As the agent does it; returns when it answers, or has refused."""
    reading, writing = os.pipe()
    command = [sys.executable, "-I", "-S", "-E", "-c", PROGRAM, "--root", root.directory, "--ready", str(writing)]
    with open(os.path.join(root.directory, "words"), "w+") as words:
        done = subprocess.run(command, pass_fds=[writing], stderr=words, check=False)
        os.close(writing)
        with open(reading, "rb") as ready:
            assert (ready.read() != b"") == (done.returncode == 0)
        words.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, stderr=words.read())


def tell(root: Root, zone: Zone, *members: Member) -> None:
    """As the agent does it: by rename."""
    for bridge, text in render([zone], members).items():
        temporary = Path(root.zones, f".{bridge}")
        temporary.write_text(text)
        temporary.rename(Path(root.zones, f"{bridge}.json"))


def ask(name: str, gateway: str, client: Box | None = None) -> list[str]:
    """Addresses in the answer; a question too early, before the zone was read, is asked again."""
    question = dnslib.DNSRecord.question(name).pack()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with within(client) as asker:
            asker.settimeout(0.1)
            try:
                asker.connect((gateway, 53))
                asker.send(question)
                found = [str(record.rdata) for record in dnslib.DNSRecord.parse(asker.recv(4096)).rr]
            except (TimeoutError, ConnectionRefusedError):
                continue
            if found:
                return found
    return []


def within(client: Box | None) -> socket.socket:
    if client is None:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client.inside():
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def web(root: Root, address: str = "10.9.1.2") -> Member:
    return Member("0123456789ab", "shop-web-1", "web", "0123456789ab", {root.bridge(1): address})


def shop(root: Root) -> Zone:
    return Zone("shop_default", root.bridge(1), "10.9.1.0/24", "10.9.1.1")


def test_a_container_learns_of_a_network_made_while_dns_runs(here: Machine, root: Root, dns: int) -> None:
    bridges.make(root.bridge(1), "10.9.1.1/24")
    client = here.box(root.bridge(1), "10.9.1.2")
    tell(root, shop(root), web(root))
    assert ask("web", "10.9.1.1", client) == ["10.9.1.2"]
    tell(root, shop(root), web(root, "10.9.1.7"))
    assert ask("web", "10.9.1.1", client) == ["10.9.1.7"], "a zone written before the question is read before it"


def test_names_are_there_before_the_bridge_is(here: Machine, root: Root) -> None:
    tell(root, shop(root), web(root))
    with running(root):
        bridges.make(root.bridge(1), "10.9.1.1/24")
        assert ask("web", "10.9.1.1", here.box(root.bridge(1), "10.9.1.2")) == ["10.9.1.2"]


def test_the_firewall_lets_questions_pass_and_answers_come_from_the_gateway(
    here: Machine, root: Root, dns: int
) -> None:
    bridges.make(root.bridge(1), "10.9.1.1/24")
    vault = Network(root.bridge(1), "10.9.1.0/24", internal=True)
    firewall.apply(root.table, [vault], [Publication("0.0.0.0", 8080, "tcp")])
    client = here.box(root.bridge(1), "10.9.1.2")
    tell(root, shop(root), web(root))
    assert ask("web", "10.9.1.1", client) == ["10.9.1.2"], "the socket is connected: another sender would not be heard"


def test_neighbours_outside_are_not_answered(here: Machine, root: Root, dns: int) -> None:
    bridges.make(root.bridge(1), "10.9.1.1/24")
    tell(root, shop(root), web(root))
    assert ask("web", "10.9.1.1") == ["10.9.1.2"], "the host itself may ask"
    with here.neighbour.inside(), IPRoute() as ip:
        ip.route("add", dst="10.9.1.0/24", gateway="192.0.2.1")
    with within(here.neighbour) as asker:
        asker.settimeout(SILENCE)
        asker.sendto(dnslib.DNSRecord.question("web").pack(), ("10.9.1.1", 53))
        with pytest.raises(TimeoutError):
            asker.recv(512)


def test_there_is_one_for_a_root(root: Root, dns: int) -> None:
    second = start(root)
    assert (second.returncode, second.stderr) == (1, f"cannot start dns: it runs already, as process {dns}\n")
    assert int(Path(root.run, "dns.lock").read_text()) == dns


def test_it_leads_its_own_life(root: Root, dns: int) -> None:
    assert os.getsid(dns) == dns
    assert os.readlink(f"/proc/{dns}/cwd") == "/"
    assert [os.readlink(f"/proc/{dns}/fd/{fd}") for fd in (1, 2)] == [os.path.join(root.run, "dns.log")] * 2


def test_a_successor_answers_after_a_kill(here: Machine, root: Root) -> None:
    bridges.make(root.bridge(1), "10.9.1.1/24")
    tell(root, shop(root), web(root))
    with running(root) as first:
        os.kill(first, signal.SIGKILL)
    with running(root):
        assert ask("web", "10.9.1.1", here.box(root.bridge(1), "10.9.1.2")) == ["10.9.1.2"]
