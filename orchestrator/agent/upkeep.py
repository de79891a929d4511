"""What no event tells of, looked after while the agent lives: the name server, and what others may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.agent import daemon
from orchestrator.agent.containers import read
from orchestrator.agent.deeds import Hands
from orchestrator.agent.drift import Looker
from orchestrator.agent.events import Events
from orchestrator.agent.gaps import TICK
from orchestrator.agent.wiring import Wiring
from orchestrator.errors import OrchestratorError
from orchestrator.root import Root

LOOK = 1.0  # seconds between two looks
TOGETHER = 0.05  # what belongs together comes within so many seconds


async def keep_dns(root: Root, events: Events, wiring: Wiring) -> None:
    """Names are answered by a process of its own; where it is missing it is started again."""
    while True:
        try:
            await daemon.ensure("orchestrator.dns.main", root, "dns.lock")
            wiring.introduce_all()
            await daemon.ended(root, "dns.lock")
            told = {"kind": "dns", "answer": "heal"}
            events.note("drift", "dns", "the name server ended", kind="daemon", attributes=told)
        except (OSError, OrchestratorError) as error:
            events.note("trouble", "dns", f"cannot start the name server: {error}", kind="daemon")
            await asyncio.sleep(LOOK)


async def keep_watch(root: Root, events: Events, hands: Hands, drift: Looker) -> None:
    """A name server that cannot listen, a full disk; and what could not be cleared up when it was due."""
    said: set[str] = set()
    while True:
        await asyncio.sleep(LOOK)
        hands.wiring.introduce_all()
        await hands.clear_up()
        troubles = {
            *(("dns", names_trouble(root)), ("dns", hands.wiring.introductions.trouble)),
            *(("agent", events.trouble), ("agent", hands.containers.trouble), ("agent", drift.trouble)),
        }
        for subject, trouble in troubles:
            if trouble and trouble not in said:
                events.note("trouble", subject, trouble, kind="daemon")
        said = {trouble for _, trouble in troubles if trouble}


async def keep_looking(told: asyncio.Event, look: Callable[[], None]) -> None:
    """Drift: at once where the kernel tells, else now and then."""
    while True:
        look()
        try:
            async with asyncio.timeout(TICK):
                await told.wait()
        except TimeoutError:
            continue  # files are looked at that nobody tells of
        await asyncio.sleep(TOGETHER)


def names_trouble(root: Root) -> str | None:
    """Why names are not answered on some gateway, as dns itself says in RUN/dns.status."""
    status = read(root.run, "dns.status") or {}
    for bridge, zone in status.get("zones", {}).items():
        if zone["error"]:
            return f"cannot answer names on {zone['gateway']} ({bridge}): {zone['error']}"
    return None
