"""The bell and the history. An event says what happened and why; to the circle it only says "look again"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.agent import clock
from orchestrator.agent.causes import ASKED, Causes
from orchestrator.agent.store import Event, Store
from orchestrator.errors import HostRefused

RECALLED = 2000  # events of an earlier agent among which causes are found
BACKLOG = 1000  # events a slow follower may be behind before it is dropped


class Bell:
    """Rung by whatever happens; the circle waits for it."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, timeout: float | None) -> None:
        """Until the bell rings, at most `timeout` seconds (None: for ever)."""
        try:
            async with asyncio.timeout(timeout):
                await self._rung.wait()
        except TimeoutError:
            pass  # an answer, not a failure: a hold has come due
        self._rung.clear()


class Events:
    """Writes the history and hands it to whoever follows."""

    def __init__(self, store: Store, bell: Bell) -> None:
        self._store = store
        self._bell = bell
        self._followers: set[asyncio.Queue[Event | None]] = set()
        self._written = 0
        self._causes = Causes()
        for event in store.latest_events(RECALLED):
            self._remember(event)
        self.trouble: str | None = None  # why events are not kept just now

    def note(
        self,
        action: str,
        subject: str,
        why: str = "",
        *,
        kind: str = "container",
        stack: str = "",
        service: str = "",
        attributes: Mapping[str, Any] | None = None,
        because: int = 0,
    ) -> int:
        """Something happened to `subject`; returns its number. Rings the bell. `because`: the number of its cause,
        where the caller knows better than `Causes` can."""
        cause = because or self._causes.of(action, kind, stack, subject, why)
        told = {**(attributes or {}), **({"because": cause} if cause else {})}
        event = Event(clock.wall_ns(), kind, action, stack, service, subject, why, told)
        number = self._keep(event)
        event = replace(event, number=number)
        self._remember(event)
        if kind == "stack" and action in ASKED:
            self.commit()  # the cause of what comes next, whoever does it
        for queue in list(self._followers):
            if queue.qsize() > BACKLOG:
                self._followers.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)
        self._bell.ring()
        return number

    def _remember(self, event: Event) -> None:
        self._causes.note(event.number, event.action, event.type, event.stack, event.service, event.subject)

    def latest(self, stack: str, service: str) -> int:
        """The number of what happened last to a service; 0: nothing is known."""
        return self._causes.latest(stack, service)

    def _keep(self, event: Event) -> int:
        """Its number; 0 where it was not kept. A history that cannot be written (a full disk) is no reason to stop: who
        follows is told all the same."""
        try:
            number = self._store.put_event(event)
            self._written += 1
            if self._written % 1000 == 0:
                self._store.trim_events(event.wall_ns)
        except HostRefused as error:
            self.trouble = str(error)
            return 0
        return number

    def past(self, stack: str) -> list[Event]:
        """All that is kept of a stack, oldest first."""
        return [event for event in self._store.events(stack, 0) if event.stack == stack]

    def commit(self) -> None:
        """Once a turn: what was noted, and the leases made since, survive from here on."""
        try:
            self._store.commit()
        except HostRefused as error:
            self.trouble = str(error)
        else:
            self.trouble = None

    async def follow(
        self, stack: str | None, since_ns: int, live: bool, until_ns: int | None = None
    ) -> AsyncIterator[Event]:
        """The events since then; with `live` also those to come, until the follower is more than BACKLOG behind, or
        until `until_ns`."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        if live:
            self._followers.add(queue)
        try:
            for event in self._store.events(stack, since_ns):
                if until_ns is None or event.wall_ns <= until_ns:
                    yield event
            while live and (event_or_end := await _next(queue, until_ns)) is not None:
                if stack is None or event_or_end.stack in (stack, ""):
                    yield event_or_end
        finally:
            self._followers.discard(queue)


async def _next(queue: asyncio.Queue[Event | None], until_ns: int | None) -> Event | None:
    """What comes next; None: nothing more, or not before `until_ns`."""
    left = None if until_ns is None else max(until_ns - clock.wall_ns(), 0) / 1e9
    try:
        async with asyncio.timeout(left):
            return await queue.get()
    except TimeoutError:
        return None  # the end that was asked for
