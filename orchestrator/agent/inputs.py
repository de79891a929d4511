"""What is written to containers: their terminals, and the stdin of those that have one."""

from __future__ import annotations

import os
from collections.abc import Callable

from orchestrator.agent.containers import Containers, Record
from orchestrator.agent.launcher_client import LauncherClient
from orchestrator.root import Root


class Inputs:
    """Container id → its terminal, or its stdin, as long as that is open for us."""

    def __init__(self, root: Root, containers: Containers, launcher: Callable[[], LauncherClient]) -> None:
        self._root = root
        self._containers = containers
        self._launcher = launcher
        self._held: dict[str, int] = {}

    def open(self, record: Record, terminal: list[int]) -> None:
        """Its terminal as the launcher gave it, or the writing end of a stdin that is to end with us."""
        self.close(record)
        if terminal:
            self._held[record.id] = terminal[0]
        elif record.one_off and record.definition.sandbox.stdin_open:
            path = f"{self._root.bundle(record.id)}/stdin"
            self._held[record.id] = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self, record: Record) -> None:
        if (held := self._held.pop(record.id, None)) is not None:
            os.close(held)

    async def share_terminals(self) -> None:
        """After the end of a launcher or of an agent: who still has a container's terminal gives it to the other."""
        for record in list(self._containers):
            if record.phase == "running" and record.definition.sandbox.tty:
                held = self._held.get(record.id)
                give = () if held is None else (held,)
                _, given = await self._launcher().request_fds("terminal", give=give, container=record.id)
                if held is None and given:
                    self._held[record.id] = given.pop()
                for descriptor in given:
                    os.close(descriptor)

    def of(self, record: Record) -> int | None:
        """A descriptor to write to the stdin of its first process, the caller's to close; None: it has none."""
        if (held := self._held.get(record.id)) is not None:
            return os.dup(held)
        walls = record.definition.sandbox
        if walls.stdin_open and not walls.tty and not record.one_off:
            return os.open(f"{self._root.bundle(record.id)}/stdin", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return None

    def end(self, record: Record) -> None:
        """Whoever was attached to it has no more to say; what `stdin_open` keeps open stays open."""
        if record.one_off:
            self.close(record)
