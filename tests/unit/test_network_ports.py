"""Ports of the host: real sockets on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import Conflict
from orchestrator.network.ports import free_port, hold


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("theirs", ["127.0.0.1", "0.0.0.0"])
def test_the_process_that_has_the_port_is_named(protocol: str, theirs: str) -> None:
    port = free_port("127.0.0.1", protocol)
    kind = "SOCK_STREAM" if protocol == "tcp" else "SOCK_DGRAM"
    program = f"import socket; s = socket.socket(socket.AF_INET, socket.{kind}); s.bind(('{theirs}', {port})); "
    program += ("s.listen(); " if protocol == "tcp" else "") + "print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline()
        name = Path(f"/proc/{other.pid}/comm").read_text().strip()
        with pytest.raises(Conflict) as refused:
            hold("127.0.0.1", port, protocol)
        other.communicate(b"\n")
    sentence = f"cannot publish 127.0.0.1:{port}/{protocol}: already used by process {other.pid} ({name})"
    assert str(refused.value) == sentence
    hold("127.0.0.1", port, protocol).close()


def test_a_held_port_is_nobody_elses() -> None:
    with hold("127.0.0.1", 0, "tcp") as held, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(held.getsockname())
        with pytest.raises(Conflict, match="already used by another container of this agent"):
            hold("0.0.0.0", held.getsockname()[1], "tcp")
        assert not os.get_inheritable(held.fileno())


def test_an_address_of_another_host_cannot_be_published_on() -> None:
    with pytest.raises(Conflict, match=r"cannot publish 192\.0\.2\.7:8080/tcp: this host has no address 192\.0\.2\.7"):
        hold("192.0.2.7", 8080, "tcp")


def test_the_loopback_of_ipv6_is_refused_by_name() -> None:
    with pytest.raises(Conflict, match="IPv6 lets nothing of the loopback leave it"):
        hold("::1", 8080, "tcp")
