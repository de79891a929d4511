"""What a container's mounts need before it is made, in threads of their own: a file server may not answer.

A call that hangs in the kernel cannot be ended, so its thread belongs to no pool that it would use up, and an agent
that ends does not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from orchestrator.errors import HostRefused
from orchestrator.root import Root
from orchestrator.storage import mounts

T = TypeVar("T")
PATIENCE = 10.0  # seconds for a file system to answer: a server on the way to its stand-in takes a few


async def ground(root: Root, place: mounts.Place) -> None:
    """Its volumes are mounted and filled. Raises HostRefused where a file system does not answer, OrchestratorError."""
    if outside := mounts.outside(root, place):
        await _must_answer(outside, place.service.name)
    if mounts.has_volumes(place):
        await aside(lambda: mounts.ground(root, place))


async def _must_answer(paths: Sequence[str], service: str) -> None:
    """Whatever it is: whether it can be mounted is said later."""
    asked: list[str] = []

    def ask() -> None:
        for path in paths:
            asked.append(path)
            with contextlib.suppress(OSError):
                os.stat(path)

    try:
        await asyncio.wait_for(aside(ask), PATIENCE)
    except TimeoutError as error:
        why = f"its file system has not answered for {PATIENCE:g} s; is its server there?"
        raise HostRefused(f"cannot mount {asked[-1]} for '{service}': {why}") from error


async def aside(deed: Callable[[], T]) -> T:
    """What `deed` returns or raises, from a thread of its own."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return  # nobody waits any more
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = deed()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="aside", daemon=True).start()
    return await future
