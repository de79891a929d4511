"""What no event tells of, looked after while the agent lives: the name server, and what others may have undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.agent import daemon
from orchestrator.agent.containers import Containers, read
from orchestrator.agent.drift import Find
from orchestrator.agent.events import Events
from orchestrator.agent.wiring import Wiring
from orchestrator.errors import OrchestratorError
from orchestrator.root import Root

LOOK = 1.0  # seconds between two looks
LOOK_FOR_DRIFT = 0.5


async def keep_dns(root: Root, events: Events, wiring: Wiring) -> None:
    """Names are answered by a process of its own; where it is missing it is started again."""
    while True:
        try:
            await daemon.ensure("orchestrator.dns.main", root, "dns.lock")
            wiring.introduce_all()
            await daemon.ended(root, "dns.lock")
            events.note("die", "dns", "the name server ended", kind="daemon")
        except (OSError, OrchestratorError) as error:
            events.note("trouble", "dns", f"cannot start the name server: {error}", kind="daemon")
            await asyncio.sleep(LOOK)


async def keep_watch(root: Root, events: Events, wiring: Wiring, containers: Containers) -> None:
    """Bridges that somebody removed, rules that somebody flushed; a name server that cannot listen, a full disk."""
    said: set[str] = set()
    while True:
        await asyncio.sleep(LOOK)
        for bridge in wiring.vanished():
            events.note("drift", bridge, "the bridge was removed; made again, with what hung on it", kind="network")
        if wiring.rules_vanished():
            events.note("drift", root.table, "the firewall's rules were flushed; written again", kind="network")
        wiring.introduce_all()
        troubles = {
            *(("dns", names_trouble(root)), ("dns", wiring.introductions.trouble)),
            *(("agent", events.trouble), ("agent", containers.trouble)),
        }
        for subject, trouble in troubles:
            if trouble and trouble not in said:
                events.note("trouble", subject, trouble, kind="daemon")
        said = {trouble for _, trouble in troubles if trouble}


async def keep_looking(events: Events, descriptor: int, look: Callable[[], list[Find]]) -> None:
    """Drift that no bridge and no rule tells of: at once where the kernel tells (`descriptor`), else now and then."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, told.set)
    try:
        while True:
            for find in look():
                why, kind = find.why, {"kind": find.kind}
                events.note("drift", find.subject, why, stack=find.stack, service=find.service, attributes=kind)
            told.clear()
            try:
                async with asyncio.timeout(LOOK_FOR_DRIFT):
                    await told.wait()
            except TimeoutError:
                pass  # files are looked at that nobody tells of
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)


def names_trouble(root: Root) -> str | None:
    """Why names are not answered on some gateway, as dns itself says in RUN/dns.status."""
    status = read(root.run, "dns.status") or {}
    for bridge, zone in status.get("zones", {}).items():
        if zone["error"]:
            return f"cannot answer names on {zone['gateway']} ({bridge}): {zone['error']}"
    return None
