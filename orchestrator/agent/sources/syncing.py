"""All sources of this machine: added, asked, suspended, removed; each follows its repository in a task of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import re
from collections.abc import Iterator

from orchestrator.agent.events import Events
from orchestrator.agent.sources.follower import Doors, Follower
from orchestrator.agent.sources.record import Shelf, Source
from orchestrator.errors import Missing, Mistake

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Syncing:
    """One Follower per source, by name."""

    def __init__(self, state: str, events: Events, doors: Doors) -> None:
        self.directory = os.path.join(state, "sources")
        self._events = events
        self._doors = doors
        self._followers: dict[str, Follower] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[Follower]:
        return iter(self._followers.values())

    def recall(self) -> None:
        """Follow what an earlier agent followed."""
        if os.path.isdir(self.directory):
            for name in sorted(os.listdir(self.directory)):
                shelf = Shelf(os.path.join(self.directory, name))
                with contextlib.suppress(FileNotFoundError):  # it was just being added when the agent died
                    self._begin(shelf.read(), shelf)

    def add(self, source: Source) -> Follower:
        """Follow `source` from now on; one of the same name and repository is changed. Raises Mistake."""
        if not NAME.fullmatch(source.name):
            raise Mistake(f"cannot add {source.name!r}: a name has lower-case letters, digits, '-' and '_'")
        present = self._followers.get(source.name)
        if present is not None:
            if present.source.repo != source.repo:
                follows = f"it follows {present.source.repo}"
                raise Mistake(f"cannot add {source.name!r}: {follows}; remove it first, or choose another name")
            present.change(source)
            return present
        shelf = Shelf(os.path.join(self.directory, source.name))
        shelf.write(source)
        return self._begin(source, shelf)

    def _begin(self, source: Source, shelf: Shelf) -> Follower:
        follower = Follower(source, shelf, self._doors, self._events)
        self._followers[source.name] = follower
        task = asyncio.get_running_loop().create_task(follower.run(), name=f"source {source.name}")
        task.add_done_callback(lambda done: self._ended(source.name, done))
        self._tasks[source.name] = task
        return follower

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        """A follower ends only when it is told to; any other end is a fault of ours that its owner must hear of."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._events.note("trouble", name, f"cannot follow it any more: {error!r}", kind="sync")

    def get(self, name: str) -> Follower:
        """Raises Missing."""
        if name not in self._followers:
            have = ", ".join(sorted(self._followers)) or "there is none"
            raise Missing(f"cannot find source {name!r} (sources: {have})")
        return self._followers[name]

    async def remove(self, name: str) -> list[str]:
        """No longer follow it. Its stacks go on and are nobody's; their names are returned."""
        follower = self.get(name)
        await self._end(name)
        del self._followers[name]
        running = not all(map(self._doors.missing, follower.stacks))
        Shelf(os.path.join(self.directory, name)).remove(but="tree" if running else "")  # they may have mounts in it
        return sorted(follower.stacks)

    def owner(self, stack: str) -> str | None:
        """The source a stack belongs to."""
        return next((one.source.name for one in self if stack in one.stacks), None)

    def hook(self, name: str, body: bytes, signature: str, token: str) -> bool:
        """A push is announced; False where whoever says so does not know the secret (or there is no such source).

        `signature`: X-Hub-Signature-256 (GitHub, Gitea, Forgejo); `token`: X-Gitlab-Token.
        """
        follower = self._followers.get(name)
        secret = follower.source.secret.encode() if follower else b""
        expected = "sha256=" + hmac.new(secret or os.urandom(16), body, hashlib.sha256).hexdigest()
        known = hmac.compare_digest(signature.encode(), expected.encode())
        known = hmac.compare_digest(token.encode(), secret) or known
        if follower is None or not secret or not known:
            return False
        follower.announce()
        return True

    async def close(self) -> None:
        """The agent ends; the sources are remembered."""
        for name in list(self._tasks):
            await self._end(name)

    async def _end(self, name: str) -> None:
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.wait({task})
