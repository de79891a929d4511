"""Leaving without hurting anybody: a container's names and ports go first, its connections may end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from orchestrator.agent import clock
from orchestrator.agent.containers import Record
from orchestrator.network import connections

QUIET = 0.2  # seconds without a connection, after which nobody is on the way any more …
LOOKS = 5  # … seen by so many looks in a row: on a busy machine two looks may lie that far apart
LOOK = 0.02


async def drain(
    record: Record, most: float, ended: asyncio.Future[None], next_turn: Callable[[], Awaitable[None]]
) -> None:
    """Returns when what was connected is done, at most `most` seconds after its names and ports have left it.

    Translated connections keep their target in the kernel's table (conntrack), whatever the rules say since.
    """
    record.change(draining=True)
    await next_turn()
    began = calm = clock.now()
    looks = 0
    while not ended.done() and (now := clock.now()) - began < most:
        if record.pid is not None and connections.incoming(record.pid):
            calm, looks = now, 0
        else:
            looks += 1
            if looks >= LOOKS and now - calm >= QUIET:
                return
        await asyncio.sleep(LOOK)
