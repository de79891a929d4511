"""Leaving without hurting anybody: a container's names and ports go first, its connections may end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from orchestrator.agent import clock
from orchestrator.agent.containers import Record
from orchestrator.network import connections

QUIET = 0.1  # seconds without a connection, after which nobody is on the way any more
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
    while not ended.done() and (now := clock.now()) - began < most:
        if record.pid is not None and connections.incoming(record.pid):
            calm = now
        elif now - calm >= min(QUIET, most):
            return
        await asyncio.sleep(LOOK)
