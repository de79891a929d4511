"""One source being followed: look, check, apply, remember; `policy.sync` says when."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from orchestrator.agent import clock
from orchestrator.agent.events import Events
from orchestrator.agent.sources.git import Repository
from orchestrator.agent.sources.record import Shelf, Source
from orchestrator.agent.sources.stacks import External, stacks_of
from orchestrator.errors import Conflict, Mistake, OrchestratorError
from orchestrator.policy import sync
from orchestrator.stack.model import Stack


@dataclass(frozen=True, slots=True)
class Doors:
    """What a follower may do with the agent. `up` brings a stack of a commit up, because of an event, `down` takes one
    away, never its volumes; both return what failed. `owner`: whose a stack of this name is already (None: nobody's).
    `missing`: it is not up. `external`: what the machine keeps under a name."""

    up: Callable[[Source, str, Stack, int], Awaitable[list[str]]]
    down: Callable[[str], Awaitable[list[str]]]
    owner: Callable[[str], str | None]
    missing: Callable[[str], bool]
    external: External


class Follower:
    """The loop of one source. Everything it knows is in its shelf before it acts on it."""

    def __init__(self, source: Source, shelf: Shelf, doors: Doors, events: Events) -> None:
        self.source = source
        self.state = shelf.state()
        self.stacks = shelf.stacks()
        self.headline = ""  # of the newest commit: who, when, what
        self.directory = shelf.directory
        self._shelf = shelf
        self._doors = doors
        self._events = events
        self._repository = Repository(shelf.directory, source.repo, source.access, source.verify)
        self._bell = asyncio.Event()
        self._removal_granted = False
        self._because = 0  # the number of the event that led to what is done now: fetch → sync → apply → synced
        # This source's own place within the jitter: always the same, different from its neighbours'.
        self._shift = zlib.crc32(f"{source.name} {source.repo}".encode()) / 0x7FFFFFFF - 1

    # what others may say

    def ask(self, removal: bool = False) -> None:
        """Look now, and apply what is found. `removal`: even if most of what runs would go."""
        self._removal_granted = removal
        self._put(replace(self.state, asked=True))
        self._bell.set()

    def announce(self) -> None:
        """Somebody says that there is news: look now, by the source's own rules."""
        self._put(replace(self.state, looked=None))
        self._bell.set()

    def suspend(self, seconds: float | None, why: str) -> None:
        """Neither look nor apply for so long (None: until `resume`)."""
        now = wall()
        self._put(replace(self.state, suspended=sync.Suspension(now, None if seconds is None else now + seconds, why)))
        self._bell.set()

    def resume(self) -> None:
        self._put(replace(self.state, suspended=None, looked=None))
        self._bell.set()

    def change(self, source: Source) -> None:
        """Its owner asked for something else; what runs goes on until the next step."""
        self._shelf.write(source)
        self.source = source
        self._repository = Repository(self._shelf.directory, source.repo, source.access, source.verify)
        self._put(replace(self.state, looked=None, aside=()))
        self._bell.set()

    # the loop

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._step()
            except OSError as error:  # a full disk: what runs goes on, and so do we
                self._note("trouble", f"cannot follow {self.source.repo}: {error}")
                await self._rest(wall() + self.source.policy.interval)

    async def _step(self) -> None:
        match sync.next_step(self.source.policy, self.state, wall(), self._shift):
            case sync.Wait(until):
                await self._rest(until)
            case sync.Fetch():
                await self._look()
            case sync.Apply(commit, why):
                await self._attempt(commit, why)

    async def _rest(self, until: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if until is None else max(until - wall(), 0)):
                await self._bell.wait()
        self._bell.clear()

    async def _look(self) -> None:
        self._bell.clear()
        try:
            commit = await self._repository.resolve(self.source.ref)
            if commit != self.state.head:
                await self._repository.fetch(commit)
                self.headline = await self._repository.show(commit)
                self._note("fetch", f"{commit[:8]}: {self.headline}")
            elif not self.headline:  # a new agent
                self.headline = await self._repository.show(commit)
        except OrchestratorError as error:
            if str(error) != self.state.trouble:
                self._note("trouble", str(error))
            self._put(sync.unreadable(self.state, wall(), str(error)))
        else:
            self._put(sync.looked(self.state, wall(), commit))
            self._notice_missing()

    def _notice_missing(self) -> None:
        """A stack that was taken down by hand comes back: who wants it down suspends the source."""
        state = self.state
        gone = [name for name in self.stacks if self._doors.missing(name)]
        if gone and self.source.policy.automatic and not state.granted and state.head == state.good == state.live:
            self._note("drift", f"taken down by hand: {', '.join(gone)}; suspend the source to keep it down")
            self._put(replace(state, granted=True))

    async def _attempt(self, commit: str, why: str) -> None:
        """Bring the commit up; a newer one that is seen meanwhile ends the attempt."""
        self._put(sync.begun(self.state, commit))
        self._note("sync", f"{commit[:8]}: {why}")
        attempt = asyncio.create_task(self._bring_up(commit), name=f"sync {self.source.name}")
        try:
            while not await self._ends(attempt):
                await self._look()
                newer = self.state.head
                wanted = self.source.policy.automatic or self.state.granted
                if wanted and newer not in (commit, None, *self.state.aside):
                    self._note("sync", f"{commit[:8]} is given up for {(newer or '')[:8]}")
                    return
            failures = attempt.result()
        except OrchestratorError as error:
            failures = [str(error)]
        finally:
            if not attempt.done():
                attempt.cancel()
                await asyncio.wait({attempt})
        self._judge(commit, failures)

    async def _ends(self, attempt: asyncio.Task[list[str]]) -> bool:
        """True when it has ended; False when it is time to look at the source again."""
        bell = asyncio.create_task(self._bell.wait())
        try:
            await asyncio.wait(
                {attempt, bell}, timeout=self.source.policy.interval, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            bell.cancel()
        return attempt.done()

    def _judge(self, commit: str, failures: list[str]) -> None:
        if not failures:
            self._put(sync.succeeded(self.state, wall()))
            self._note("synced", f"{commit[:8]} is up: {', '.join(sorted(self.stacks)) or 'no stack'}")
            return
        why = "; ".join(failures)[:2000]
        self._put(sync.failed(self.source.policy, self.state, wall(), why))
        self._note("trouble", f"{commit[:8]}: {why}")
        if commit in self.state.aside:
            self._note("aside", f"{commit[:8]} failed {self.state.tries} times and is not tried again")

    async def _bring_up(self, commit: str) -> list[str]:
        """Every stack of the commit, and what the commit no longer has. Returns what failed, a sentence each."""
        await self._repository.fetch(commit)
        await self._repository.check_out(commit)
        stacks = await self._load()
        gone = [name for name in self.stacks if name not in {stack.name for stack in stacks}]
        self._refuse_accidents(stacks)
        failures: list[str] = []
        known = dict(self.stacks)
        for stack in stacks:
            known[stack.name] = sorted(stack.services)
            self._remember(known)  # ours from now on, whatever happens next
            failures += [
                f"{stack.name}: {failure}"
                for failure in await self._doors.up(self.source, commit, stack, self._because)
            ]
        for name in gone if self.source.prune else ():
            failures += [f"{name}: {failure}" for failure in await self._doors.down(name)]
            known.pop(name)
            self._remember(known)
        self._removal_granted = False
        kept = [one for one in (commit, self.state.good) if one]
        await self._repository.forget(kept)
        return failures

    async def _load(self) -> list[Stack]:
        """The stacks of the checkout. Raises Mistake, also where one of them is somebody else's. In a thread: a large
        file, or a slow sops, must not hold up the agent."""
        name = self.source.name
        stacks = await asyncio.to_thread(stacks_of, self.source, self._repository.tree, self._doors.external)
        owners = {stack.name: self._doors.owner(stack.name) for stack in stacks}
        foreign = {stack: owner for stack, owner in owners.items() if owner not in (None, f"source {name}")}
        if foreign:
            raise Mistake(
                *(f"cannot sync {name}: stack {stack!r} is {whose}'s already" for stack, whose in foreign.items())
            )
        return stacks

    def _refuse_accidents(self, stacks: list[Stack]) -> None:
        """A bad merge must not take everything away. Raises Conflict."""
        if self._removal_granted or not self.source.prune:
            return  # it is meant, or nothing goes
        before = [f"{name}/{service}" for name, services in self.stacks.items() for service in services]
        after = [f"{stack.name}/{service}" for stack in stacks for service in stack.services]
        if why := sync.mass_removal(before, after):
            raise Conflict(
                f"cannot sync {self.source.name}: {why}; if that is meant: "
                f"pyorch sync now {self.source.name} --allow-removal"
            )

    def _remember(self, stacks: dict[str, list[str]]) -> None:
        self._shelf.write_stacks(stacks)
        self.stacks = stacks

    def _put(self, state: sync.SyncState) -> None:
        self._shelf.write_state(state)
        self.state = state

    def _note(self, action: str, why: str) -> None:
        led = 0 if action in ("fetch", "drift") else self._because
        number = self._events.note(action, self.source.name, why, kind="sync", because=led)
        if action in ("fetch", "sync", "drift"):
            self._because = number


def wall() -> float:
    return clock.wall_ns() / 1e9
