"""What the sources may do with the agent: the very requests a user makes, and a look at what came of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.agent.circle import Circle
from orchestrator.agent.notices import Notices
from orchestrator.agent.requests import Requests, Up
from orchestrator.agent.sources.asked import read_source
from orchestrator.agent.sources.files import Watcher
from orchestrator.agent.sources.follower import Doors, wall
from orchestrator.agent.sources.preview import commit_stacks
from orchestrator.agent.sources.record import Source, shown
from orchestrator.agent.sources.syncing import Syncing
from orchestrator.agent.store import Event
from orchestrator.agent.watch import Progress
from orchestrator.errors import Mistake, OrchestratorError
from orchestrator.policy import sync
from orchestrator.reconcile import settled
from orchestrator.stack.model import Material, Stack
from orchestrator.storage import materials


class Sources:
    """Everything that makes stacks wanted without a user: files that are watched, repositories that are followed."""

    def __init__(self, circle: Circle, requests: Requests) -> None:
        self._circle = circle
        self._requests = requests
        self.watcher = Watcher(circle.root.state, circle.events, self._again)
        self._notices = Notices(circle.events, self._about)
        self._telling: asyncio.Task[None] | None = None
        self.syncing = Syncing(
            circle.root.state, circle.events, Doors(self._up, self._down, self._owner, self._missing, self._external)
        )

    def recall(self) -> None:
        """Go on with what an earlier agent watched and followed."""
        self.watcher.recall()
        self.syncing.recall()
        self._telling = asyncio.get_running_loop().create_task(self._notices.run(), name="notices")

    async def close(self) -> None:
        """The agent ends; all of it is remembered."""
        self.watcher.close()
        if self._telling is not None:
            self._telling.cancel()
        await self.syncing.close()

    def _about(self, event: Event) -> list[Stack]:
        """The stacks an event is about; all of a source's where it is the source's."""
        names = {event.stack} if event.stack else set()
        if event.type == "sync":
            names |= {name for one in self.syncing if one.source.name == event.subject for name in one.stacks}
        found = (self._circle.wishes.get(name) for name in sorted(names))
        return [wish.stack for wish in found if wish is not None]

    async def up(self, body: Up) -> Progress:
        """A user's `up`: what was asked last holds, so it begins or ends the watching of the stack's files."""
        async for lines in self._requests.up(body):
            for line in lines:
                if line["type"] == "accepted":
                    self._watch(line["stack"], body)
            yield lines

    def _watch(self, name: str, body: Up) -> None:
        wish = self._circle.wishes.get(name)
        if body.watch and wish is not None:
            self.watcher.follow(name, _as_json(body), wish.stack.inputs)
        else:
            self.watcher.forget(name)

    async def _again(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """`up` of a stack whose files changed; the files it is read from now. What fails later is told as events."""
        wanted = replace(Up(**body), goal="none", force_recreate=False, renew_volumes=False, cause="a file changed")
        name = ""
        async for lines in self._requests.up(wanted):
            name = next((line["stack"] for line in lines if line["type"] == "accepted"), name)
        wish = self._circle.wishes.get(name)
        return wish.stack.inputs if wish is not None else ()

    async def _up(self, source: Source, commit: str, stack: Stack, because: int) -> list[str]:
        body = Up(
            directory=stack.directory,
            files=list(stack.files),
            goal="ready",
            timeout=source.timeout,
            remove_orphans=source.prune,
            cause=f"sync {source.name} {commit[:8]}",
            because=because,
        )
        return await _failures(self._requests.up(body, stack)) or await self._relapses(source, stack.name)

    async def _relapses(self, source: Source, stack: str) -> list[str]:
        """Up is not yet well: a service without a check may start and die a moment later."""
        await asyncio.sleep(source.settle)
        word, why = self.health(stack)
        return [why] if word == "Degraded" else []

    async def plan(self, word: str, path: str | None) -> dict[str, Any]:
        """What a commit would do: `word` is SOURCE@REF, or REPOSITORY@REF of one that is not followed."""
        known, at, ref = word.rpartition("@")
        name = known if at else word
        follower = next((one for one in self.syncing if one.source.name == name), None)
        if follower is None and not at:
            raise Mistake(f"cannot plan {word!r}: it is no source; write SOURCE@REF or REPOSITORY@REF")
        source = follower.source if follower else read_source({"name": "plan", "repo": name})
        source = replace(source, path=path or source.path)
        home = follower.directory if follower else os.path.join(self.syncing.directory, source.name)
        os.makedirs(self.syncing.directory, mode=0o700, exist_ok=True)
        commit, stacks = await commit_stacks(source, ref if at else source.ref, home, self._external)
        asked = Up(directory="/", remove_orphans=source.prune)
        return {"commit": commit, "plans": [await self._requests.plan(asked, stack) for stack in stacks]}

    async def _down(self, stack: str) -> list[str]:
        return await _failures(self._requests.down(stack, False, None, [], None))

    def _external(self, thing: Material) -> bytes | None:
        return materials.external(self._circle.root, thing)

    def _missing(self, stack: str) -> bool:
        wish = self._circle.wishes.get(stack)
        return wish is None or wish.down

    def _owner(self, stack: str) -> str | None:
        """Whose it is: a source's, or a user's who brought it up from files of his own."""
        if (source := self.syncing.owner(stack)) is not None:
            return f"source {source}"
        wish = self._circle.wishes.get(stack)
        file = wish.stack.files[0] if wish is not None and wish.stack.files else ""
        left = file.startswith(f"{self.syncing.directory}/")  # by a source that was removed
        return f"a user ({file})" if file and not left else None

    def of_stack(self, stack: str) -> dict[str, Any] | None:
        """The source that a stack follows, and how far that is; None: it follows none. "Since": seconds since the epoch
        when the last good commit had come up whole."""
        follower = next((one for one in self.syncing if stack in one.stacks), None)
        if follower is None:
            return None
        state = follower.state
        word, why = sync.verdict(state, wall())
        return {
            "Name": follower.source.name,
            "Repo": shown(follower.source.repo),
            "Ref": follower.source.ref or "HEAD",
            "Sync": word,
            "Why": why,
            "Commit": state.live or "",
            "Good": state.good or "",
            "Head": state.head or "",
            "Headline": follower.headline,
            "Since": state.good_since,
        }

    def health(self, stack: str) -> tuple[str, str]:
        """The health axis: Healthy, Progressing, Degraded, Stopped or Missing, and what is not as it should be."""
        wish = self._circle.wishes.get(stack)
        if wish is None or wish.down:
            return "Missing", "it is not up"
        if wish.stopped >= wish.active:
            return "Stopped", "stopped by hand"
        found = settled(wish, self._circle.world, self._circle.plan, "ready")
        if found.failures:
            return "Degraded", "; ".join(f"{subject}: {why}" for subject, why in found.failures)
        if found.pending:
            return "Progressing", "; ".join(f"{subject}: {why}" for subject, why in found.pending)
        return "Healthy", ""


async def _failures(progress: Progress) -> list[str]:
    """What was still wrong at the end, a sentence each."""
    try:
        async for lines in progress:
            if lines and lines[-1]["type"] == "done":
                return [f"{failure['subject']}: {failure['why']}" for failure in lines[-1]["failures"]]
    except OrchestratorError as error:
        return [str(error)]
    return ["the agent ended meanwhile"]


def _as_json(body: Up) -> dict[str, Any]:
    return {name: getattr(body, name) for name in Up.__slots__}
