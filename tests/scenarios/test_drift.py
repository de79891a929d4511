"""What somebody else changes is seen, told by its kind, and put right or only told, as the file asks."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.kernel import netlink
from orchestrator.kernel.netlink import Netlink
from orchestrator.network import firewall
from tests.scenarios.conftest import Pyorch

pytestmark = pytest.mark.root

WAITS = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
SERVES = "mkdir /w; echo hi > /w/index.html; exec python3 -m http.server -d /w 8000"


def stack(port: int, words: str = "{}", ours: str = "{}") -> str:
    return f"""
        name: drift
        x-pyorch: {ours}
        services:
          web:
            image: host:/
            command: [sh, -c, "{SERVES}"]
            ports: ["{port}:8000"]
            restart: always
            stop_grace_period: 1s
            stop_signal: SIGINT
            configs: [{{source: motd, target: /motd}}]
            healthcheck: {{test: [CMD, test, -e, /w/index.html], interval: 1s}}
            x-pyorch: {words}
        configs: {{motd: {{content: good morning}}}}
    """


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def drifts(pyorch: Pyorch) -> list[tuple[str, str]]:
    """(kind, what is done about it) of every drift that was told."""
    events = pyorch.lines("events", "--json", "--no-follow", "--since", "1h")
    told = [event["attributes"] for event in events if event["action"] == "drift"]
    return [(each["kind"], each["answer"]) for each in told]


def status(pyorch: Pyorch) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pyorch.run("status", "--format", "json").stdout)
    return found


def amiss(pyorch: Pyorch) -> list[str]:
    found = status(pyorch)
    return [*found["Drift"], *(line for row in found["Services"] for line in row["Drift"])]


def link_of(pyorch: Pyorch) -> str:
    """The host's end of its interface."""
    with Netlink() as kernel:
        return next(
            link.name
            for link in netlink.links(kernel)
            if link.name.startswith(f"po{pyorch.bundle('drift-web-1').name[:10]}")
        )


def bridge_of(pyorch: Pyorch) -> str:
    with Netlink() as kernel:
        return next(link.name for link in netlink.links(kernel) if link.name.startswith(f"po{pyorch.root.instance}b"))


def run(*requests: bytes) -> None:
    with Netlink() as kernel:
        kernel.run(*requests)


def run_inside(pid: int, change: Callable[[Netlink], None]) -> None:
    with netlink.namespace_of(pid):
        kernel = Netlink()
    with kernel:
        change(kernel)


def lose_address(kernel: Netlink) -> None:
    index, address = next((i, a) for i, a in netlink.addresses(kernel) if not a.startswith("127."))
    kernel.run(netlink.drop_address(index, address))


def set_down(name: str) -> bytes:
    """rtnetlink(7): struct ifinfomsg with IFF_UP among the flags that change, and not among those that are set."""
    body = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(name), 0, netlink.IFF_UP)
    return netlink.message(netlink.RTM_NEWLINK, netlink.NLM_F_ACK, body)


def config_file(pyorch: Pyorch) -> Path:
    return pyorch.bundle("drift-web-1") / "materials" / "0"


def remove_a_rule(pyorch: Pyorch) -> None:
    listed = subprocess.run(["nft", "-a", "list", "chain", "ip", pyorch.root.table, "postrouting"], capture_output=True,
                            text=True, check=True).stdout  # fmt: skip
    handle = next(line.rpartition("# handle ")[2] for line in listed.splitlines() if "masquerade" in line)
    subprocess.run(["nft", "delete", "rule", "ip", pyorch.root.table, "postrouting", "handle", handle], check=True)


CHANGES: dict[str, tuple[str, Callable[[Pyorch], object]]] = {
    "its link is removed": ("link", lambda p: run(netlink.drop_link(link_of(p)))),
    "its link is set down": ("link", lambda p: run(set_down(link_of(p)))),
    "its address is removed": ("address", lambda p: run_inside(p.pid("drift-web-1"), lose_address)),
    "its bridge is removed": ("network", lambda p: run(netlink.drop_link(bridge_of(p)))),
    "its bridge is set down": ("network", lambda p: run(set_down(bridge_of(p)))),
    "all rules are flushed": ("rules", lambda p: firewall.remove(p.root.table)),
    "one rule is removed": ("rules", remove_a_rule),
    "its config is written to": ("config", lambda p: config_file(p).write_text("good night")),
    "its config gets another mode": ("config", lambda p: os.chmod(config_file(p), 0o777)),
    "it is killed": ("stopped", lambda p: os.kill(p.pid("drift-web-1"), signal.SIGKILL)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_else_changes_is_seen_and_put_right(pyorch: Pyorch, change: str) -> None:
    port = free_port()
    pyorch.up(stack(port))
    kind, meddle = CHANGES[change]

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as answer:
                well = answer.status == 200
        except OSError:
            return False
        config = Path(f"/proc/{pyorch.pid('drift-web-1')}/root/motd")
        return well and config.read_text() == "good morning" and config.stat().st_mode & 0o777 == 0o444

    assert pyorch.until(answers)
    meddle(pyorch)
    pyorch.until(lambda: (kind, "heal") in drifts(pyorch))
    pyorch.until(answers)
    pyorch.until(lambda: status(pyorch)["Sync"] == "synced" and not amiss(pyorch))
    assert {told for told, _ in drifts(pyorch)} == {kind}


REPORTED = {
    "its link is removed": "link: drift-web-1: its link to drift_default was removed",
    "its address is removed": "address: drift-web-1: its address",
    "its bridge is removed": "network: drift_default: its bridge",
    "one rule is removed": "rules: ",
    "its config is written to": "config: drift-web-1: config 'motd' (/motd) was written to",
    "it is killed": "stopped: drift-web-1: killed by SIGKILL by somebody else",
}


@pytest.mark.parametrize("change", REPORTED)
def test_what_is_only_to_be_reported_stays_as_it_is_and_is_shown(pyorch: Pyorch, change: str) -> None:
    pyorch.up(stack(free_port(), ours="{drift: report}"))
    kind, meddle = CHANGES[change]
    meddle(pyorch)
    pyorch.until(lambda: (kind, "report") in drifts(pyorch))
    shown = lambda: [line for line in amiss(pyorch) if line.startswith(REPORTED[change])]  # noqa: E731
    pyorch.until(shown)
    assert pyorch.run("status").returncode == 1
    assert drifts(pyorch) == [(kind, "report")]  # told once


def test_a_word_for_one_kind_is_a_word_for_that_kind(pyorch: Pyorch) -> None:
    pyorch.up(stack(free_port(), words="{drift: {config: report, link: heal}, ignore_drift: [address]}"))
    config_file(pyorch).write_text("good night")
    run(netlink.drop_link(link_of(pyorch)))
    pyorch.until(lambda: set(drifts(pyorch)) == {("config", "report"), ("link", "heal")})
    pyorch.until(lambda: amiss(pyorch) == ["config: drift-web-1: config 'motd' (/motd) was written to"])
    run_inside(pyorch.pid("drift-web-1"), lose_address)
    pyorch.ok("up", "-d", "stack.yaml")
    assert set(drifts(pyorch)) == {("config", "report"), ("link", "heal")}


def test_who_asks_in_so_many_words_gets_back_what_somebody_stopped(pyorch: Pyorch) -> None:
    pyorch.up(f"""
        name: hand
        services:
          silent: {{image: "host:/", command: {WAITS}}}
          asked: {{image: "host:/", command: {WAITS}, x-pyorch: {{drift: heal}}}}
          ours: {{image: "host:/", command: {WAITS}}}
    """)
    for name in ("silent", "asked"):
        os.kill(pyorch.pid(f"hand-{name}-1"), signal.SIGKILL)
    state = lambda name: pyorch.ps()[f"hand-{name}-1"]["State"]  # noqa: E731
    pyorch.until(lambda: (state("silent"), state("asked")) == ("exited", "running"))
    pyorch.ok("kill", "ours")
    pyorch.until(lambda: state("ours") == "exited")
    assert sorted(amiss(pyorch)) == ["stopped: hand-silent-1: killed by SIGKILL by somebody else"]
