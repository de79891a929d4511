"""IPv6 where a network asks for it, and nowhere else."""

from __future__ import annotations

import socket
import subprocess

import pytest

from orchestrator.kernel import nftables
from tests.scenarios.conftest import Pyorch

pytestmark = pytest.mark.root


def test_a_network_with_ipv6_gives_addresses_names_a_way_out_and_published_ports(pyorch: Pyorch) -> None:
    pyorch.up(
        """
        name: six
        services:
          web:
            image: host:/
            command: [python3, -m, http.server, "8000", --bind, "::"]
            stop_signal: KILL
            networks: [n]
            ports: ["[::]:18333:8000"]
          fixed: {image: "host:/", command: [sleep, "1000"], stop_signal: KILL, networks: {n: {ipv6_address: "fd99:7::77"}}}
          apart: {image: "host:/", command: [sleep, "1000"], stop_signal: KILL, networks: [auto]}
          older: {image: "host:/", command: [sleep, "1000"], stop_signal: KILL, networks: [plain]}
        networks:
          n: {enable_ipv6: true, ipam: {config: [{subnet: "fd99:7::/64"}]}}
          auto: {enable_ipv6: true, internal: true}
          plain: {}
        """
    )
    ask = "import urllib.request as u; print(u.urlopen('http://[{}]:{}/', timeout=10).status)"
    found = pyorch.ok("exec", "-T", "fixed", "getent", "ahostsv6", "web").split()[0]
    assert found.startswith("fd99:7::")
    assert pyorch.ok("exec", "-T", "fixed", "python3", "-c", ask.format(found, 8000)) == "200\n"
    table = pyorch.ok("exec", "-T", "fixed", "cat", "/proc/net/if_inet6", "/proc/net/ipv6_route")
    assert "fd990007000000000000000000000077" in table
    assert "fd990007000000000000000000000001" in table, "its gateway"
    by_the_host = subprocess.run(
        ["python3", "-c", ask.format("fd99:7::1", 18333)], capture_output=True, text=True, check=True
    )
    assert by_the_host.stdout == "200\n", "the bridge's own address is one of the host's"
    with pytest.raises(ConnectionRefusedError):  # at once: so who tries ::1 first goes on to 127.0.0.1
        socket.create_connection(("::1", 18333), timeout=10)
    apart = pyorch.ok("exec", "-T", "apart", "cat", "/proc/net/if_inet6")
    assert any(line.startswith("fd") for line in apart.splitlines()), "an own prefix where none is written"
    assert pyorch.ok("exec", "-T", "older", "cat", "/proc/net/if_inet6") == "", "elsewhere there is no IPv6"
    assert pyorch.run("exec", "-T", "older", "getent", "ahostsv6", "web").returncode == 2


def test_ipv6_rules_go_with_the_last_network_that_has_it(pyorch: Pyorch) -> None:
    pyorch.up(
        "name: six\nservices: {a: {image: 'host:/', command: [sleep, '1000'], stop_signal: KILL}}\n"
        "networks: {default: {enable_ipv6: true}}\n"
    )
    assert nftables.has_table(pyorch.root.table, nftables.IP6)
    pyorch.ok("down")
    pyorch.until(lambda: not nftables.has_table(pyorch.root.table, nftables.IP6))
