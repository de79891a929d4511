"""Where the directories of removed containers wait for a quiet moment.

ext4 does not give a deleted inode away again for five seconds, and each new file until then searches past all of them:
a stack brought up right after another was taken down paid three times as much for every container's root. So what is
removed is renamed here, which costs nothing, and deleted when nothing has been removed for a while. Where the disk is
short of room it is deleted at once.
"""

from __future__ import annotations

import asyncio
import os

from orchestrator.agent import clock
from orchestrator.agent.containers import scrap
from orchestrator.root import Root

QUIET = 10.0  # seconds without a removal
ROOM = 1 << 30  # bytes free below which nothing waits


class Trash:
    """STATE/trash, of one agent."""

    def __init__(self, root: Root) -> None:
        self._directory = directory(root)
        self._thrown = asyncio.Event()
        self._latest = clock.now()
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        if os.listdir(self._directory):
            self._thrown.set()

    async def take(self, directories: list[str]) -> None:
        """They are out of the way at once. Directories on another filesystem (RUN) are deleted."""
        for path in directories:
            try:
                os.rename(path, os.path.join(self._directory, os.path.basename(path)))
            except FileNotFoundError:
                continue
            except OSError:
                await asyncio.to_thread(scrap, [path])
        self._latest = clock.now()
        if self._short_of_room():
            await asyncio.to_thread(self.empty)
        else:
            self._thrown.set()

    async def keep(self) -> None:
        """For ever: what was thrown away is deleted once it is quiet."""
        while True:
            await self._thrown.wait()
            while (left := self._latest + QUIET - clock.now()) > 0:
                await asyncio.sleep(left)
            self._thrown.clear()
            await asyncio.to_thread(self.empty)

    def empty(self) -> None:
        scrap([entry.path for entry in os.scandir(self._directory)])

    def _short_of_room(self) -> bool:
        disk = os.statvfs(self._directory)
        return disk.f_bavail * disk.f_frsize < ROOM


def directory(root: Root) -> str:
    return os.path.join(root.state, "trash")
