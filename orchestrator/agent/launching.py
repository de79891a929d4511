"""The launcher as the agent has it: met at the start, met again when it has died, asked for execs.

A dead launcher hurts nobody: its successor adopts the containers, and `adopted` reads what it found.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from orchestrator.agent.events import Events
from orchestrator.agent.launcher_client import LauncherClient, connect
from orchestrator.errors import OrchestratorError, Unreachable
from orchestrator.root import Root

PATIENCE = 3  # more attempts to reach a launcher, after which its absence is trouble and no longer a moment


class Launching:
    """`ended` hears of each container's end. `trouble`: why no launcher could be started, while that is so."""

    def __init__(
        self,
        root: Root,
        events: Events,
        ended: Callable[[Mapping[str, Any]], None],
        adopted: Callable[[], Awaitable[None]],
    ) -> None:
        self._root = root
        self._events = events
        self._ended = ended
        self._adopted = adopted
        self._launcher: LauncherClient | None = None
        self.trouble: str | None = None
        self._news = asyncio.Event()
        self._exec_endings: dict[str, asyncio.Future[Mapping[str, Any]]] = {}

    def launcher_or_fail(self) -> LauncherClient:
        """The connection to the launcher. Raises Unreachable while there is none."""
        if self._launcher is None or self._launcher.closed.done():
            raise Unreachable(self.trouble or "cannot reach the launcher: it died; a new one is being started")
        return self._launcher

    async def launcher_again(self) -> LauncherClient:
        """Waits for its successor where the launcher has died. Raises Unreachable where none can be started."""
        while self.between:
            await self._news.wait()
        return self.launcher_or_fail()

    @property
    def between(self) -> bool:
        """One has died, and its successor is about to answer: what fails now for that is nobody's failure."""
        away = self._launcher is None or self._launcher.closed.done()
        return away and self.trouble is None

    async def meet(self) -> None:
        """The one that runs, or a new one. Raises Unreachable where none comes up."""
        for attempt in range(PATIENCE, -1, -1):
            try:
                self._launcher = await connect(self._root, self._heard)
                await self._launcher.request("hello")
            except (OSError, OrchestratorError):
                # What a killed predecessor was just making may hold its lock, or its socket, for a moment more.
                if not attempt:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def keep(self) -> None:
        """As long as the agent lives."""
        while True:
            assert self._launcher is not None, "one was met before the circle turned"
            await asyncio.shield(self._launcher.closed)
            why = "the launcher ended; its successor adopts the containers"
            self._events.note("die", "launcher", why, kind="daemon")
            while True:
                try:
                    await self.meet()
                except (OSError, OrchestratorError) as error:
                    self.trouble = str(error)
                    self._news.set()
                    self._events.note("trouble", "launcher", str(error), kind="daemon")
                    await asyncio.sleep(0.5)
                else:
                    break
            self.trouble = None
            self._news.set()
            self._news = asyncio.Event()
            for future in self._exec_endings.values():
                if not future.done():
                    future.set_result({"code": None, "signal": None})
            await self._adopted()
            self._events.note("start", "launcher", "a new launcher adopted the containers", kind="daemon")

    def _heard(self, message: Mapping[str, Any]) -> None:
        match message.get("event"):
            case "exit":
                self._ended(message)
            case "exec-exit":
                waiting = self._exec_endings.pop(message["exec"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)

    @contextlib.asynccontextmanager
    async def exec(self, **request: Any) -> AsyncIterator[tuple[str, list[int], asyncio.Future[Mapping[str, Any]]]]:
        """One command in a container: (exec id, its descriptors, its ending to come). Cancelled where left early."""
        reply, descriptors = await self.launcher_or_fail().request_fds("exec", **request)
        ending: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._exec_endings[reply["exec"]] = ending
        try:
            yield reply["exec"], descriptors, ending
        finally:
            if not ending.done():
                with contextlib.suppress(Unreachable):
                    await self.launcher_or_fail().request("cancel", exec=reply["exec"])
            self._exec_endings.pop(reply["exec"], None)
