"""The requests that take containers in hand, past the decider: see agent/direct.py, agent/one_off.py, attach.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from orchestrator.agent import clock, direct, ends, one_off
from orchestrator.agent.circle import Circle
from orchestrator.agent.requests import Requests
from orchestrator.agent.state import group_of
from orchestrator.api import attach, copies
from orchestrator.api.forms import body_of, names, ndjson
from orchestrator.api.http import Json, Reply, Request, Stream
from orchestrator.kernel import usage


async def kill(circle: Circle, request: Request) -> Reply:
    body, (stack,) = request.json(), request.words
    services, name = names(body, "services"), str(body.get("signal") or "SIGKILL")
    if name.upper().removeprefix("SIG") in ("KILL", "9"):  # nobody who says so wants it back at once
        return Stream(ndjson(Requests(circle).stop(stack, services, 0.0)))
    return Stream(ndjson(direct.signal(circle, stack, services, name)))


async def pause(circle: Circle, request: Request) -> Reply:
    return Stream(ndjson(direct.pause(circle, request.words[0], names(request.json(), "services"))))


async def unpause(circle: Circle, request: Request) -> Reply:
    return Stream(ndjson(direct.unpause(circle, request.words[0], names(request.json(), "services"))))


async def remove(circle: Circle, request: Request) -> Reply:
    return Stream(ndjson(direct.remove(circle, request.words[0], names(request.json(), "services"))))


async def top(circle: Circle, request: Request) -> Reply:
    found, now = direct.running(circle, request.words[0], request.names("services")), clock.wall_ns() / 1e9
    groups = [(direct.row(record), group_of(circle.root, record)) for record in found]
    return Json([row | {"Processes": usage.processes(group, now)} for row, group in groups])


async def stats(circle: Circle, request: Request) -> Reply:
    found, at = direct.running(circle, request.words[0], request.names("services")), int(clock.now() * 1e9)
    groups = [(record, group_of(circle.root, record)) for record in found]
    return Json([direct.row(r) | {"Used": usage.used(group, r.pid or 0) | {"at": at}} for r, group in groups])


async def wait(circle: Circle, request: Request) -> Reply:
    return Stream(ndjson(ends.wait(circle, request.words[0], request.names("services"))))


async def run(circle: Circle, request: Request) -> Reply:
    return await attach.run(circle, request.words[0], body_of(one_off.Run, request))


async def attached(circle: Circle, request: Request) -> Reply:
    return await attach.attach(circle, request.words[0], request.json())


async def copy_out(circle: Circle, request: Request) -> Reply:
    return await copies.out_of(circle, request)


async def copy_in(circle: Circle, request: Request) -> Reply:
    return await copies.into(circle, request)


TABLE: dict[tuple[str, ...], Callable[[Circle, Request], Awaitable[Reply]]] = {
    ("POST", "stacks", "*", "kill"): kill,
    ("POST", "stacks", "*", "pause"): pause,
    ("POST", "stacks", "*", "unpause"): unpause,
    ("POST", "stacks", "*", "rm"): remove,
    ("GET", "stacks", "*", "top"): top,
    ("GET", "stacks", "*", "stats"): stats,
    ("GET", "stacks", "*", "wait"): wait,
    ("POST", "stacks", "*", "run"): run,
    ("GET", "stacks", "*", "archive"): copy_out,
    ("POST", "stacks", "*", "archive"): copy_in,
    ("POST", "stacks", "*", "attach"): attached,
}
