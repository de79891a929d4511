"""`x-pyorch.notify`: who is told of what. A notice is the event as JSON, POSTed to an address or given to a program.

Nobody waits for a notice: each is on its way by itself, tried a few times, and what cannot be delivered becomes an
event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.agent import clock
from orchestrator.agent.events import Events
from orchestrator.agent.store import Event
from orchestrator.stack.model import Stack

PATIENCE = 10.0  # seconds for one attempt
PAUSES = (1.0, 5.0)  # seconds before the second and the third attempt
MOST = 64  # notices under way; an avalanche of events does not become an avalanche of connections

WORDS: Mapping[str, str] = {
    "trouble": "failed",
    "health_status: unhealthy": "unhealthy",
    "health_status: healthy": "healthy",
    "gave_up": "gave_up",
    "aside": "gave_up",
    "synced": "synced",
    "drift": "drift",
    "oom": "oom",
    "apply": "applied",
}


class Notices:
    """`stacks(event)`: the stacks an event is about."""

    def __init__(self, events: Events, stacks: Callable[[Event], Iterable[Stack]]) -> None:
        self._events = events
        self._stacks = stacks
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled: every event is looked at once, as it happens."""
        while True:  # who fell too far behind begins again with what is new
            async for event in self._events.follow(None, clock.wall_ns(), live=True):
                word = WORDS.get(event.action)
                if word is not None and event.type != "notice":
                    for stack in self._stacks(event):
                        self._tell(stack, word, event)

    def _tell(self, stack: Stack, word: str, event: Event) -> None:
        for wish in wishes(stack, word):
            if len(self._under_way) >= MOST:
                return
            task = asyncio.get_running_loop().create_task(self._deliver(stack.name, wish, notice(stack, word, event)))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _deliver(self, stack: str, wish: Mapping[str, Any], message: bytes) -> None:
        trouble = ""
        for pause in (*PAUSES, None):
            try:
                async with asyncio.timeout(PATIENCE):
                    await _send(wish, message)
                return
            except (OSError, ValueError, TimeoutError) as error:
                trouble = str(error) or "no answer"
            if pause is not None:
                await asyncio.sleep(pause)
        whom = wish.get("webhook") or " ".join(wish.get("exec") or ())
        self._events.note("trouble", stack, f"cannot notify {whom}: {trouble}", kind="notice", stack=stack)


def wishes(stack: Stack, word: str) -> list[Mapping[str, Any]]:
    """The entries of `x-pyorch.notify` that ask for this word."""
    asked = (stack.extensions.get("x-pyorch") or {}).get("notify") or ()
    return [wish for wish in asked if word in ([wish["on"]] if isinstance(wish["on"], str) else wish["on"])]


def notice(stack: Stack, word: str, event: Event) -> bytes:
    """What is sent: {"on", "stack", "service", "subject", "why", "time"}."""
    time = datetime.fromtimestamp(event.wall_ns / 1e9, UTC).isoformat()
    told = {"on": word, "stack": stack.name, "service": event.service, "subject": event.subject, "why": event.why}
    return json.dumps({**told, "time": time}, ensure_ascii=False).encode()


async def _send(wish: Mapping[str, Any], message: bytes) -> None:
    """Raises OSError or ValueError where it was not taken."""
    if wish.get("webhook"):
        await asyncio.to_thread(_post, str(wish["webhook"]), message)
    if wish.get("exec"):
        await _exec([str(word) for word in wish["exec"]], message)


def _post(address: str, message: bytes) -> None:
    from urllib.request import Request, urlopen  # 40 ms and some megabytes that only who is notified pays

    if not address.startswith(("http://", "https://")):
        raise ValueError("expected an address that begins with http:// or https://")
    request = Request(address, data=message, headers={"Content-Type": "application/json", "User-Agent": "pyorch"})
    with urlopen(request, timeout=PATIENCE) as answer:
        answer.read(1 << 16)


async def _exec(command: list[str], message: bytes) -> None:
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=nothing, stderr=nothing, cwd="/", start_new_session=True
    )
    try:
        await process.communicate(message)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise OSError(f"it exited with {process.returncode}")
