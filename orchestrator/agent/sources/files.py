"""`up --watch`: a stack is applied again whenever a file it was read from changes.

Saving a file is a burst of events (write beside, rename, chmod); the burst is waited out, and nothing is done where
the content is what it was. A file that cannot be read as a stack changes nothing: what runs goes on, and the event
says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.agent.events import Events
from orchestrator.agent.sources import paths
from orchestrator.errors import OrchestratorError
from orchestrator.kernel.inotify import Inotify

QUIET = 0.04  # seconds without another event: the burst is over …
LONGEST = 0.5  # … and no burst is waited for longer than this
LOOK = 30.0  # seconds between two looks without an event: network file systems send none

Body = Mapping[str, Any]  # of POST /v1/up


@dataclass(slots=True)
class _Watched:
    body: Body
    inputs: tuple[str, ...]
    signature: str
    directories: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Watcher:
    """All stacks that follow their files. `apply(body)` is `up`; it returns the files the stack was read from now."""

    def __init__(self, state: str, events: Events, apply: Callable[[Body], Awaitable[tuple[str, ...]]]) -> None:
        self._directory = os.path.join(state, "watched")
        self._events = events
        self._apply = apply
        self._watched: dict[str, _Watched] = {}
        self._inotify: Inotify | None = None

    def __contains__(self, stack: str) -> bool:
        return stack in self._watched

    def recall(self) -> None:
        """Go on with what an earlier agent watched; files that changed meanwhile are applied at once."""
        if not os.path.isdir(self._directory):
            return
        for name in sorted(os.listdir(self._directory)):
            if name.endswith(".json"):
                with open(os.path.join(self._directory, name), encoding="utf-8") as file:
                    kept = json.load(file)
                self._begin(name.removesuffix(".json"), kept["body"], tuple(kept["inputs"]), kept["signature"])
                self._watched[name.removesuffix(".json")].changed.set()

    def follow(self, stack: str, body: Body, inputs: tuple[str, ...]) -> None:
        """From now on `stack` is applied again when one of `inputs` changes."""
        self.forget(stack)
        self._begin(stack, body, inputs, paths.signature(inputs))
        self._keep(stack)

    def forget(self, stack: str) -> None:
        """No longer."""
        watched = self._watched.pop(stack, None)
        if watched is None:
            return
        if watched.task is not None and watched.task is not asyncio.current_task():
            watched.task.cancel()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._file(stack))
        self._follow_directories()

    def close(self) -> None:
        """The agent ends; what is watched is remembered."""
        for watched in self._watched.values():
            if watched.task is not None:
                watched.task.cancel()
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fd)
            self._inotify.close()
            self._inotify = None

    def _begin(self, stack: str, body: Body, inputs: tuple[str, ...], signature: str) -> None:
        watched = _Watched(body, inputs, signature)
        self._watched[stack] = watched
        self._follow_directories()
        watched.task = asyncio.get_running_loop().create_task(self._watch(stack, watched), name=f"watch {stack}")

    def _follow_directories(self) -> None:
        for watched in self._watched.values():
            watched.directories = set().union(*map(paths.directories, watched.inputs))
        if self._inotify is None:
            self._inotify = Inotify()
            asyncio.get_running_loop().add_reader(self._inotify.fd, self._heard)
        self._inotify.follow(set().union(*(watched.directories for watched in self._watched.values())))

    def _heard(self) -> None:
        assert self._inotify is not None
        for change in self._inotify.read():
            for watched in self._watched.values():
                if not change.directory or change.directory in watched.directories:
                    watched.changed.set()

    async def _watch(self, stack: str, watched: _Watched) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await watched.changed.wait()
                await _calm(watched.changed)
            watched.changed.clear()
            signature = paths.signature(watched.inputs)
            if signature != watched.signature:
                watched.signature = signature
                await self._again(stack, watched)
                self._keep(stack)
            self._follow_directories()

    async def _again(self, stack: str, watched: _Watched) -> None:
        seen = self._events.note("change", stack, "a file of the stack changed", kind="stack", stack=stack)
        try:
            watched.inputs = await self._apply({**watched.body, "because": seen})
        except OrchestratorError as error:
            why = f"cannot apply the changed file, what runs goes on: {error}"
            self._events.note("trouble", stack, why, kind="stack", stack=stack)
        else:
            watched.signature = paths.signature(watched.inputs)

    def _file(self, stack: str) -> str:
        return os.path.join(self._directory, f"{stack}.json")

    def _keep(self, stack: str) -> None:
        watched = self._watched.get(stack)
        if watched is None:
            return
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        kept = {"body": dict(watched.body), "inputs": watched.inputs, "signature": watched.signature}
        beside = self._file(stack) + ".new"
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(kept, file)
        os.replace(beside, self._file(stack))


async def _calm(changed: asyncio.Event) -> None:
    """Until nothing has happened for QUIET seconds, at most LONGEST."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LONGEST):
            while changed.is_set():
                changed.clear()
                await asyncio.sleep(QUIET)
