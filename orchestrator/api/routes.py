"""Which request is which: the table of routes, and the small translations between HTTP and the agent."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from orchestrator import __version__
from orchestrator.agent import past, revisions, standing, suspending, view
from orchestrator.agent import why as causes
from orchestrator.agent.circle import Circle
from orchestrator.agent.requests import Requests, Up
from orchestrator.agent.sources.doors import Sources
from orchestrator.agent.store import Event
from orchestrator.api import execs, hands, images, logs, nodes, storage, volumes
from orchestrator.api.forms import names, ndjson
from orchestrator.api.http import Json, Reply, Request, Stream
from orchestrator.api.sync import SyncRoutes
from orchestrator.api.webhook import Webhooks
from orchestrator.errors import Missing, Mistake
from orchestrator.kernel import cgroups
from orchestrator.reconcile.world import Wanted
from orchestrator.stack import files as stack_files
from orchestrator.stack.naming import name_of

Route = Callable[[Request], Awaitable[Reply]]
KNOWN = {item.name for item in fields(Up)}


class Routes:
    """Every route of the API, bound to one agent. `stop` ends the agent."""

    def __init__(self, circle: Circle, stop: Callable[[bool], Awaitable[dict[str, Any]]]) -> None:
        self._circle = circle
        self._requests = Requests(circle)
        self.sources = Sources(circle, self._requests)
        self.webhooks = Webhooks(self.sources.syncing, circle.events)
        self._stop = stop
        self._table: dict[tuple[str, ...], Route] = {
            ("GET", "ping"): self.ping,
            ("GET", "info"): self.info,
            ("POST", "up"): self.up,
            ("POST", "plan"): self.plan,
            ("POST", "build"): self.build,
            ("GET", "stacks"): self.stacks,
            ("GET", "stacks", "*"): self.stack,
            ("GET", "resolve"): self.resolve,
            ("GET", "stacks", "*", "history"): self.history,
            ("GET", "stacks", "*", "diff"): self.diff,
            ("POST", "stacks", "*", "rollback"): self.rollback,
            ("POST", "stacks", "*", "promote"): self.promote,
            ("GET", "stacks", "*", "status"): self.status,
            ("GET", "stacks", "*", "why"): self.why,
            ("GET", "stacks", "*", "state"): self.state,
            ("POST", "stacks", "*", "suspend"): self.suspend,
            ("POST", "stacks", "*", "resume"): self.resume,
            ("POST", "stacks", "*", "down"): self.down,
            ("POST", "stacks", "*", "stop"): self.stop,
            ("POST", "stacks", "*", "start"): self.start,
            ("POST", "stacks", "*", "restart"): self.restart,
            ("POST", "stacks", "*", "exec"): self.exec,
            **{way: partial(route, circle) for way, route in hands.TABLE.items()},
            ("GET", "stacks", "*", "logs"): self.logs,
            ("GET", "containers"): self.containers,
            ("GET", "events"): self.events,
            ("POST", "agent", "stop"): self.agent_stop,
            **nodes.routes(circle),
            **storage.routes(circle),
            **SyncRoutes(self.sources, self.webhooks).table,
            **volumes.routes(circle),
            **images.routes(circle),
        }

    async def __call__(self, request: Request) -> Reply:
        version, *parts = request.path.strip("/").split("/")
        if version != "v1":
            raise Missing(f"cannot serve {request.path}: this agent speaks /v1")
        for (method, *pattern), route in self._table.items():
            if method == request.method and len(pattern) == len(parts):
                words = [part for part, want in zip(parts, pattern, strict=True) if want == "*"]
                if all(want in ("*", part) for part, want in zip(parts, pattern, strict=True)):
                    return await route(Request(request.method, request.path, request.query, request.body, tuple(words)))
        raise Missing(f"cannot serve {request.method} {request.path}: there is no such route")

    async def ping(self, request: Request) -> Reply:
        return Json({})

    async def info(self, request: Request) -> Reply:
        circle = self._circle
        node = circle.node
        return Json(
            {
                "version": __version__,
                "pid": os.getpid(),
                "launcher": {"pid": pid_in(circle.root.run, "launcher.lock")},
                "dns": {"pid": pid_in(circle.root.run, "dns.lock")},
                "root": circle.root.directory,
                "instance": circle.root.instance,
                "cgroup": f"v{cgroups.hierarchy().version}",
                "node": {"name": node.name, "cpus": node.cpus, "memory": node.memory},
                "stacks": len(circle.wishes.all()),
                "containers": len(circle.containers),
            }
        )

    async def up(self, request: Request) -> Reply:
        return Stream(ndjson(self.sources.up(_up(request))))

    async def build(self, request: Request) -> Reply:
        """As the body of `up`, and "options": no_cache, pull, arguments."""
        body = request.json()
        options = body.pop("options", None) or {}
        return Stream(images.lines(self._requests.build(_up_of(body), options)))

    async def plan(self, request: Request) -> Reply:
        return Json(await self._requests.plan(_up(request)))

    async def stacks(self, request: Request) -> Reply:
        known = {wish.stack.name: wish for wish in self._circle.wishes.all()}
        strangers = sorted({record.stack for record in self._circle.containers} - known.keys())
        rows = [self._stack_row(wish) for wish in known.values()]
        return Json(rows + [self._row(name, files=(), revision=0) for name in strangers])

    async def stack(self, request: Request) -> Reply:
        wish = self._circle.wishes.get(request.words[0])
        if wish is None:
            raise Missing(f"cannot find stack {request.words[0]!r}: it is not up here")
        return Json({**self._stack_row(wish), "Services": sorted(wish.stack.services), "Active": sorted(wish.active)})

    def _stack_row(self, wish: Wanted) -> dict[str, Any]:
        return self._row(wish.stack.name, wish.stack.files, wish.revision)

    def _row(self, name: str, files: tuple[str, ...], revision: int) -> dict[str, Any]:
        counts: dict[str, int] = {}
        for record in self._circle.containers.of(name):
            counts[record.phase] = counts.get(record.phase, 0) + 1
        status = ", ".join(f"{state}({count})" for state, count in sorted(counts.items()))
        return {
            "Name": name,
            "Status": status,
            "ConfigFiles": ",".join(files),
            "Revision": revision,
        }

    async def resolve(self, request: Request) -> Reply:
        return Json({"name": self._named(request)})

    def _named(self, request: Request) -> str:
        """The stack meant by `stack=`, `file=` or `directory=`: one that is up with that file, else by its name."""
        if request.query.get("stack"):
            return request.query["stack"]
        file = request.query.get("file") or stack_files.find(request.query.get("directory") or "/")
        if file is None:
            raise Mistake(
                "cannot tell which stack is meant: no stack file here or above; name one by -f FILE or -p NAME"
            )
        real = os.path.realpath(file)
        for wish in self._circle.wishes.all():
            if any(os.path.realpath(known) == real for known in wish.stack.files):
                return wish.stack.name
        return name_of(file, {})

    async def history(self, request: Request) -> Reply:
        return Json(revisions.history(self._circle, request.words[0]))

    async def diff(self, request: Request) -> Reply:
        old, new = (_revision(request.query.get(key)) for key in ("old", "new"))
        return Json(revisions.compare(self._circle, request.words[0], old, new))

    async def rollback(self, request: Request) -> Reply:
        body = request.json()
        chosen = body.get("revision")
        progress = revisions.rollback(
            self._circle,
            request.words[0],
            None if chosen is None else _revision(chosen),
            _goal(body),
            _seconds(body, "timeout"),
            _seconds(body, "grace"),
        )
        return Stream(ndjson(progress))

    async def status(self, request: Request) -> Reply:
        found = standing.standing(self._circle, request.words[0])
        return Json({**found, "Source": self.sources.of_stack(request.words[0])})

    async def why(self, request: Request) -> Reply:
        return Json(causes.why(self._circle, request.words[0], request.query.get("service", "")))

    async def state(self, request: Request) -> Reply:
        moment = logs.moment(request.query.get("at"))
        if moment is None:
            raise Mistake("cannot tell the state: say of which moment, with --at TIME")
        return Json(past.state_at(self._circle.events.past(request.words[0]), moment))

    async def suspend(self, request: Request) -> Reply:
        body = request.json()
        seconds = _seconds(body, "seconds")
        if seconds is None or seconds <= 0:
            raise Mistake("cannot suspend: say for how long, in seconds above 0")
        reason = str(body.get("reason") or "")
        return Json(suspending.suspend(self._circle, request.words[0], names(body, "services"), seconds, reason))

    async def resume(self, request: Request) -> Reply:
        return Json(suspending.resume(self._circle, request.words[0], names(request.json(), "services")))

    async def promote(self, request: Request) -> Reply:
        body = request.json()
        name, services = request.words[0], names(body, "services")
        return Stream(ndjson(revisions.promote(self._circle, name, services, _goal(body), _seconds(body, "timeout"))))

    async def down(self, request: Request) -> Reply:
        body = request.json()
        self._rest(request.words[0], body)
        progress = self._requests.down(
            request.words[0],
            bool(body.get("volumes")),
            _seconds(body, "grace"),
            names(body, "services"),
            _seconds(body, "timeout"),
        )
        return Stream(ndjson(progress))

    def _rest(self, stack: str, body: dict[str, Any]) -> None:
        """Who takes a whole stack down or stops it does not want a saved file to bring it up again."""
        if not names(body, "services"):
            self.sources.watcher.forget(stack)

    async def stop(self, request: Request) -> Reply:
        body = request.json()
        self._rest(request.words[0], body)
        return Stream(ndjson(self._requests.stop(request.words[0], names(body, "services"), _seconds(body, "grace"))))

    async def start(self, request: Request) -> Reply:
        body = request.json()
        progress = self._requests.start(request.words[0], names(body, "services"), bool(body.get("no_deps")))
        return Stream(ndjson(progress))

    async def restart(self, request: Request) -> Reply:
        body, (stack,) = request.json(), request.words
        services, alone = names(body, "services"), bool(body.get("no_deps"))
        return Stream(ndjson(self._requests.restart(stack, services, _seconds(body, "grace"), alone)))

    async def exec(self, request: Request) -> Reply:
        return await execs.answer(self._circle, request.words[0], request.json())

    async def logs(self, request: Request) -> Reply:
        return Stream(logs.stream(self._circle, request.words[0], request), "application/vnd.pyorch.log")

    async def containers(self, request: Request) -> Reply:
        everything = not any(request.query.get(key) for key in ("stack", "file", "directory"))
        stack = None if everything else self._named(request)
        services = request.names("services")
        wish = self._circle.wishes.get(stack) if stack is not None else None
        if wish is not None:
            unknown = [name for name in services if name not in wish.stack.services and name not in wish.orphans]
            if unknown:
                raise Mistake(*(f"no such service: {name}" for name in unknown))
        return Json(view.rows(self._circle, stack, request.flag("all"), services))

    async def events(self, request: Request) -> Reply:
        since = logs.moment(request.query.get("since"))
        follow = request.flag("follow")
        if since is None:
            since = logs.moment("0s") if follow else 0
        stack = request.query.get("stack") or None
        until = logs.moment(request.query.get("until"))
        return Stream(event_lines(self._circle.events.follow(stack, since or 0, follow, until)))

    async def agent_stop(self, request: Request) -> Reply:
        return Json(await self._stop(bool(request.json().get("all"))))


def pid_in(run: str, name: str) -> int | None:
    """The pid that a daemon wrote into its lock file; None where it never ran."""
    try:
        with open(os.path.join(run, name), encoding="ascii") as file:
            return int(file.read() or 0) or None
    except (FileNotFoundError, ValueError):
        return None


async def event_lines(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    yield b""  # the head goes out at once: a follower knows that from now on nothing is missed
    async for event in events:
        yield json.dumps(event_json(event)).encode() + b"\n"


def event_json(event: Event) -> dict[str, Any]:
    """An event with the fields of `docker compose events --json`, and the why."""
    return {
        "time": datetime.fromtimestamp(event.wall_ns / 1e9, UTC).isoformat(),
        "timeNano": event.wall_ns,
        "type": event.type,
        "action": event.action,
        "stack": event.stack,
        "service": event.service,
        "subject": event.subject,
        "id": event.attributes.get("id", ""),
        "why": event.why,
        "number": event.number,
        "cause": event.attributes.get("because"),
        "attributes": dict(event.attributes),
    }


def _up(request: Request) -> Up:
    return _up_of(request.json())


def _up_of(given: dict[str, Any]) -> Up:
    body = {key: value for key, value in given.items() if value is not None}
    unknown = sorted(set(body) - KNOWN)
    if unknown:
        raise Mistake(f"cannot read the request: unknown field {', '.join(unknown)}; known: {', '.join(sorted(KNOWN))}")
    if not isinstance(body.get("directory"), str):
        raise Mistake("cannot read the request: 'directory' must be an absolute path")
    return Up(**body)


def _seconds(body: dict[str, Any], key: str) -> float | None:
    value = body.get(key)
    if value is not None and not isinstance(value, int | float):
        raise Mistake(f"cannot read the request: {key!r} must be a number of seconds")
    return value


def _revision(word: Any) -> int:
    if not str(word).isdigit():
        raise Mistake(f"cannot read the request: expected the number of a revision, but found {word!r}")
    return int(word)


def _goal(body: dict[str, Any]) -> Literal["started", "ready"]:
    match body.get("goal") or "started":
        case "started":
            return "started"
        case "ready":
            return "ready"
        case other:
            raise Mistake(f"cannot read the request: goal must be 'started' or 'ready', but found {other!r}")
