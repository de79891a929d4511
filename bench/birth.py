"""One container as the agent makes it, without the agent: create, attach to a network, start (root)."""

from __future__ import annotations

import time
from ipaddress import ip_network
from statistics import median

from bench.launcher import Bench, launcher
from orchestrator.network import attach, bridges, pool


async def measure(runs: int = 50) -> tuple[float, float]:
    """Medians in seconds: from the request until the program runs, with limits and network; and `exec true` in one."""
    async with launcher() as bench:
        subnet = ip_network(pool.choose_subnet(None, bridges.host_routes()))
        gateway, prefix = str(subnet[1]), subnet.prefixlen
        bridge = bridges.make(bench.root.bridge(0), f"{gateway}/{prefix}")
        try:
            births = []
            for number in range(runs):
                births.append(await _born(bench, f"one{number:09}", bridge, f"{subnet[2 + number]}/{prefix}", gateway))
            execs = [await _exec(bench, "one000000000") for _ in range(runs)]
        finally:
            bridges.drop(bench.root.bridge(0))
        return median(births), median(execs)


async def _born(bench: Bench, name: str, bridge: int, address: str, gateway: str) -> float:
    bench.bundle(name, "sleep", "1000")
    mac = f"02:00:00:00:00:{int(address.split('/')[0].rpartition('.')[2]):02x}"
    began = time.perf_counter()
    born = await bench.client.request("create", container=name, until="network")
    host_name = bench.root.veth(name[::-1], 0)
    attach.attach(born["pid"], host_name=host_name, bridge_index=bridge, address=address, gateway=gateway, mac=mac)
    await bench.client.request("start", container=name)
    return time.perf_counter() - began


async def _exec(bench: Bench, name: str) -> float:
    began = time.perf_counter()
    reply = await bench.client.request("exec", container=name, args=["true"], capture=0)
    await bench.ended(reply["exec"])
    return time.perf_counter() - began
