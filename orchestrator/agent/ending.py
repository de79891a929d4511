"""`agent stop --all`: everything the agent looks after ends. What is wanted stays written, for the next start."""

from __future__ import annotations

import os
import signal

from orchestrator.agent import daemon, one_off
from orchestrator.agent.circle import Circle
from orchestrator.kernel import parents
from orchestrator.network import bridges, firewall
from orchestrator.root import Root


async def end_containers(circle: Circle) -> None:
    """Returns when none runs any more. The laws see to the order: it is as if every service were stopped by hand."""
    circle.closing = True
    circle.bell.ring()
    for stack in {record.stack for record in circle.containers if record.one_off}:
        await one_off.end(circle, stack, [], None)
    while any(record.phase == "running" for record in circle.containers):
        await circle.turned(None)


async def end_processes(root: Root) -> None:
    """The launcher and the name server, and what they and the containers stood on: bridges, packet filter, cgroup."""
    for lock in ("launcher.lock", "dns.lock"):
        pid = daemon.holder(root, lock)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            await daemon.ended(root, lock)
    firewall.remove(root.table)
    for bridge in bridges.listing(root.bridge(0)[:-1]):
        bridges.drop(bridge)
    for own_devices in (False, True):
        parents.forget(root.group("", own_devices).rstrip("/"))
