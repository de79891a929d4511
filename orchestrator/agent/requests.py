"""What users may ask of the agent: up, plan, down, stop, start, restart. Each sets what is wanted, then watches."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from orchestrator.agent import clock, image_builds, leftovers, one_off, planning, pulls
from orchestrator.agent.circle import Circle
from orchestrator.agent.grounding import aside
from orchestrator.agent.watch import Progress, accepted, done, dropped, watch
from orchestrator.errors import Conflict, Missing, Mistake
from orchestrator.policy.pull import PullPolicy
from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.world import Wanted
from orchestrator.stack import contents, graph
from orchestrator.stack.load import load
from orchestrator.stack.model import Stack
from orchestrator.stack.partly import keeping
from orchestrator.storage import materials


@dataclass(frozen=True, slots=True)
class Up:
    """The body of POST /v1/up and /v1/plan. `timeout` and `grace` in seconds."""

    directory: str
    files: list[str] | None = None
    project_directory: str | None = None
    name: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    env_files: list[str] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)
    strict: bool = False  # variables without a value are mistakes
    compat: Literal["refuse", "warn"] = "refuse"  # what is done with keys that are not obeyed
    services: list[str] = field(default_factory=list)
    goal: Literal["started", "ready", "none"] = "started"
    timeout: float | None = None
    remove_orphans: bool = False
    force_recreate: bool = False
    no_recreate: bool = False
    renew_volumes: bool = False  # those that nobody named, of containers that are replaced
    no_deps: bool = False
    scale: Mapping[str, int] = field(default_factory=dict)
    grace: float | None = None
    pull: Literal["always", "missing", "never"] | None = None  # instead of each service's pull_policy
    build: bool | None = None  # True: every image that can be; False: none; None: those that are missing
    locked: Mapping[str, str] | None = None  # image → the digest it must have, whatever its tag says now
    document: bool = False  # of a plan: with the document that `up --plan` applies
    plan: Mapping[str, Any] | None = None  # of an up: apply this plan, if nothing has come between
    watch: bool = False  # again whenever a file changes: see sources/files.py
    cause: str = ""  # what the history says of it; "": the command
    because: int = 0  # the number of the event that brought it about; 0: a user did
    only_needs: bool = False  # what the services named need, and their images, but not the services themselves


class Requests:
    """The use cases, over one circle."""

    def __init__(self, circle: Circle) -> None:
        self.circle = circle
        self._locks: dict[str, asyncio.Lock] = {}

    # up and plan

    def _load(self, body: Up) -> Stack:
        if body.plan is not None:
            return planning.planned(body.plan)
        stack = load(
            body.files,
            directory=body.directory,
            environment=body.environment,
            name=body.name,
            env_files=body.env_files,
            profiles=body.profiles,
            services=body.services,
            project_directory=body.project_directory,
            strict=body.strict,
            lenient=body.compat == "warn",
        )
        return contents.read(stack, lambda thing: materials.external(self.circle.root, thing))

    async def _read(self, body: Up) -> Stack:
        """In a thread of its own: what the files name may lie on a file server that does not answer."""
        return await aside(lambda: self._load(body))

    def _wish(self, body: Up, stack: Stack) -> tuple[Wanted, list[str]]:
        """What is wanted once this request is granted, and the warnings that go with it."""
        _know(body.services, stack.services, stack.name)
        _know(body.scale, stack.services, stack.name)
        before = self.circle.wishes.get(stack.name)
        if before is not None and before.down:
            raise Conflict(f"cannot bring up {stack.name!r}: it is just being taken down; try again when that is done")
        chosen = frozenset(body.services or stack.services)
        if not body.no_deps:
            chosen = _with_dependencies(chosen, stack)
        warnings = list(stack.warnings)
        if before is not None:
            made = {record.service for record in self.circle.containers.of(stack.name) if record.slot > 0}
            said, stack = stack, keeping(stack, before.stack, made if body.no_recreate else made - chosen)
            needed = {name: one.depends_on.keys() & stack.services.keys() for name, one in stack.services.items()}
            if stack is not said and (circle := graph.cycle(needed)):
                raise Conflict(
                    f"cannot leave what was not named as it was made: {' → '.join(circle)} would wait for one another; "
                    "name them all, without --no-deps and --no-recreate"
                )
            meant, kept = blueprint(said).digests, blueprint(stack).digests
            if left := [name for name in stack.services if kept[name] != meant[name]]:
                why = "--no-recreate" if body.no_recreate else "not named"
                warnings.append(f"the file says something else of {', '.join(left)} now: left as made ({why})")
        wish = self.circle.wishes.revised(stack)
        if body.only_needs:
            chosen -= frozenset(body.services) if not body.no_deps else chosen
        orphans = (
            {}
            if before is None
            else {
                **before.orphans,
                **{n: before.stack.services[n] for n in before.active if n in before.stack.services},
            }
        )
        orphans = {name: service for name, service in orphans.items() if name not in stack.services}
        if orphans and not body.remove_orphans:
            names = ", ".join(sorted(orphans))
            warnings.append(f"the file no longer has {names}: kept running; --remove-orphans takes them away")
        now = clock.now()
        return replace(
            wish,
            active=(wish.active & frozenset(stack.services)) | chosen,
            stopped=wish.stopped - chosen,
            retries={**wish.retries, **dict.fromkeys(chosen, now)},
            recreate={**wish.recreate, **dict.fromkeys(chosen, now)} if body.force_recreate else wish.recreate,
            renewed={**wish.renewed, **dict.fromkeys(chosen, clock.wall_ns() / 1e9)}
            if body.renew_volumes
            else {name: at for name, at in wish.renewed.items() if name not in chosen},
            scale={**{n: c for n, c in wish.scale.items() if n in stack.services and n not in chosen}, **body.scale},
            orphans={} if body.remove_orphans else orphans,
            grace=body.grace,
        ), warnings

    async def up(self, body: Up, stack: Stack | None = None) -> Progress:
        """Make this stack (of these files, or read already) the wanted one, and watch until the goal is reached."""
        began = clock.now()
        stack = stack or await self._read(body)
        failures: list[tuple[str, str]] = []
        async for message in self._bring(stack, body):
            yield [message]
            if message["type"] == "image" and message.get("state") == "failed":
                failures.append((message["image"], message["why"]))
        if failures:  # nothing has been changed yet
            yield [done(began, failures)]
            return
        stack = self._pinned(stack)
        async with self._lock(stack.name):
            await self._until_gone(stack.name, began, body.timeout)
            if body.plan is not None:
                planning.still_true(self.circle, body.plan, stack.name)
            wish, warnings = self._wish(body, stack)
            if body.force_recreate:
                self.circle.wishes.repeat_jobs(stack.name, body.services or stack.services)
            materials.keep(self.circle.root, stack)
            self.circle.wishes.put(wish, _cause(body))
            self.circle.obey(wish)
            why = f"revision {wish.revision}: {_cause(body)}"
            self.circle.events.note("apply", stack.name, why, kind="stack", stack=stack.name, because=body.because)
        goal, told = body.goal, set(body.services)
        if body.only_needs:
            needed = set() if body.no_deps else set(_with_dependencies(frozenset(told), stack)) - told
            goal, told = _patience(stack, body.services) if needed else "none", needed
        if goal == "none":
            yield [accepted(wish, warnings), done(began, [])]
            return
        async for lines in watch(self.circle, wish, goal, began, body.timeout, told, warnings):
            yield lines

    async def build(self, body: Up, options: Mapping[str, Any]) -> pulls.Messages:
        """The images of the named services, of all without a name; nothing is started."""
        stack = await self._read(body)
        _know(body.services, stack.services, stack.name)
        services = [stack.services[name] for name in body.services or stack.services]
        async for message in image_builds.build(self.circle, stack, services, body.environment, options):
            yield message

    async def _bring(self, stack: Stack, body: Up) -> pulls.Messages:
        """The images of what is asked for, before anything old stops."""
        _know(body.services, stack.services, stack.name)
        chosen = frozenset(body.services or stack.services)
        if not body.no_deps:
            chosen = _with_dependencies(chosen, stack)
        services = [service for name, service in stack.services.items() if name in chosen]
        root = self.circle.root
        built = [] if body.build is False else [s for s in services if image_builds.needed(root, s, bool(body.build))]
        async for message in image_builds.build(self.circle, stack, built, body.environment):
            yield message
        services = [service for service in services if service not in built and image_builds.fetched(stack, service)]
        policy = PullPolicy(body.pull) if body.pull else None
        async for message in pulls.bring(self.circle.root, services, body.environment, policy, body.locked):
            yield message

    def _pinned(self, stack: Stack) -> Stack:
        before = self.circle.wishes.get(stack.name)
        return pulls.pinned(self.circle.root, stack, before.stack if before else None)

    async def _until_gone(self, name: str, began: float, timeout: float | None) -> None:
        """Where the stack is being taken down, that is finished first. Raises Conflict where the time is over."""
        circle = self.circle
        while (wish := circle.wishes.get(name)) is not None and wish.down:
            circle.bell.ring()
            try:
                await circle.turned(None if timeout is None else max(began + timeout - clock.now(), 0.001))
            except TimeoutError:
                raise Conflict(f"cannot bring up {name!r}: it is still being taken down after {timeout:g}s") from None

    async def plan(self, body: Up, stack: Stack | None = None) -> dict[str, Any]:
        """What `up` would do (with this stack, read already); nothing is changed."""
        wish, warnings = self._wish(body, self._pinned(stack or await self._read(body)))
        return {**planning.plan(self.circle, wish, body.document), "warnings": warnings}

    # down, stop, start, restart

    async def down(
        self, name: str, volumes: bool, grace: float | None, services: list[str], timeout: float | None
    ) -> Progress:
        """Take the stack (or only some services) away; the record of it goes last."""
        began = clock.now()
        wish = self._strangers(name) or self.circle.wishes.get(name)
        if wish is None:  # as asked, already: `down` twice is no mistake
            nothing = f"nothing of {name!r} is up here"
            head = {"type": "accepted", "stack": name, "revision": 0, "warnings": [nothing], "services": 0}
            yield [head, done(began, [])]
            return
        if services:
            _know(services, {**wish.stack.services, **wish.orphans}, name)
            await one_off.end(self.circle, name, services, grace)
            wish = replace(wish, scale={**wish.scale, **dict.fromkeys(services, 0)}, grace=grace)
            self.circle.wishes.put(replace(wish, active=wish.active | set(services)))
            self.circle.bell.ring()
            async for lines in watch(self.circle, wish, "started", began, timeout, set(services)):
                if lines[-1]["type"] == "done" and (present := self.circle.wishes.get(name)) is not None:
                    scale = {n: c for n, c in present.scale.items() if n not in services}
                    self.circle.wishes.put(replace(present, scale=scale, active=present.active - set(services)))
                yield lines
            return
        await one_off.end(self.circle, name, [], grace)
        self.circle.forgive(wish)
        self.circle.wishes.put(replace(wish, down=True, remove_volumes=volumes or wish.remove_volumes, grace=grace))
        self.circle.events.note("down", name, "asked", kind="stack", stack=name)
        warnings = [
            f"volume {volume.name} is protected and stays; 'pyorch volume rm --force {volume.name}' removes it"
            for volume in (wish.stack.volumes.values() if volumes else ())
            if volume.protect
        ]
        nameless = leftovers.anonymous(self.circle.root, self.circle.containers.of(name)) if volumes else ()
        told = [dropped(volume[:12], f"down, with its volumes; it has no name: {whose}") for volume, whose in nameless]
        async for lines in watch(self.circle, wish, "down", began, timeout, set(), warnings):
            yield [lines[0], *told, *lines[1:]]
            told = []

    async def stop(self, name: str, services: list[str], grace: float | None) -> Progress:
        """Keep the containers, end what runs in them."""
        began = clock.now()
        wish = self._wanted(name)
        chosen = self._chosen(wish, services)
        self.circle.forgive(wish)
        self.circle.wishes.put(replace(wish, stopped=wish.stopped | chosen, grace=grace))
        self.circle.events.note("stop", name, "asked", kind="stack", stack=name)
        async for lines in watch(self.circle, wish, "stopped", began, None, set(services)):
            yield lines

    async def start(self, name: str, services: list[str], no_deps: bool) -> Progress:
        """Run again what was stopped, its dependencies first."""
        began = clock.now()
        wish = self._wanted(name)
        chosen = self._chosen(wish, services)
        if not no_deps:
            chosen = _with_dependencies(chosen, wish.stack) & wish.active
        retries = {**wish.retries, **dict.fromkeys(chosen, began)}
        self.circle.wishes.put(replace(wish, stopped=wish.stopped - chosen, retries=retries))
        self.circle.forgive(wish)
        self.circle.events.note("start", name, "asked", kind="stack", stack=name)
        async for lines in watch(self.circle, wish, "started", began, None, set(services)):
            yield lines

    async def restart(self, name: str, services: list[str], grace: float | None, no_deps: bool = False) -> Progress:
        """Stop and start the same containers again, dependents with `restart: true` after them unless `no_deps`."""
        began = clock.now()
        wish = self._wanted(name)
        chosen = self._chosen(wish, services)
        restarts = {**wish.restarts, **dict.fromkeys(chosen, began)}
        unfollowed = wish.unfollowed | chosen if no_deps else wish.unfollowed - chosen
        self.circle.wishes.put(
            replace(wish, restarts=restarts, unfollowed=unfollowed, stopped=wish.stopped - chosen, grace=grace)
        )
        self.circle.forgive(wish)
        self.circle.events.note("restart", name, "asked", kind="stack", stack=name)
        async for lines in watch(self.circle, wish, "started", began, None, set(services)):
            yield lines

    def _chosen(self, wish: Wanted, services: list[str]) -> frozenset[str]:
        known = {**wish.stack.services, **wish.orphans}
        _know(services, known, wish.stack.name)
        return frozenset(services or (wish.active | set(wish.orphans)))

    def _strangers(self, name: str) -> Wanted | None:
        """A stack made up from its containers, where these are all that is left of it: enough to take it down."""
        found = self.circle.containers.of(name)
        if not found or self.circle.wishes.get(name) is not None:
            return None
        services = {record.service: record.definition for record in found}
        return Wanted(Stack(name, directory="/", files=(), services=services), active=frozenset(services))

    def _wanted(self, name: str) -> Wanted:
        wish = self.circle.wishes.get(name)
        if wish is None:
            have = ", ".join(sorted(w.stack.name for w in self.circle.wishes.all())) or "there is none"
            raise Missing(f"cannot find stack {name!r}: it is not up here (stacks: {have})")
        return wish

    def _lock(self, stack: str) -> asyncio.Lock:
        return self._locks.setdefault(stack, asyncio.Lock())


def _know(names: Iterable[str], services: Mapping[str, Any], stack: str) -> None:
    unknown = [name for name in names if name not in services]
    if unknown:
        raise Mistake(*(f"no such service: {name}; {stack!r} has {', '.join(sorted(services))}" for name in unknown))


def _patience(stack: Stack, services: list[str]) -> Literal["started", "ready"]:
    """What must be true of their dependencies before these services may run."""
    conditions = {need.condition for name in services for need in stack.services[name].depends_on.values()}
    return "ready" if conditions - {"started"} else "started"


def _with_dependencies(names: frozenset[str], stack: Stack) -> frozenset[str]:
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name not in found and name in stack.services:
            found.add(name)
            ahead.extend(stack.services[name].depends_on)
    return frozenset(found)


def _cause(body: Up) -> str:
    """What the history says of a revision made by `up`."""
    if body.plan is not None:
        return "up --plan"
    names = [os.path.basename(file) for file in body.files or ()]
    return body.cause or " ".join(["up", *names, *body.services])
