"""What users do to containers with their own hands, past the decider: pause, unpause, signal, rm.

Each is told as progress, like the requests that set what is wanted: one "state" line a container, then "done".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from orchestrator.agent import clock
from orchestrator.agent.circle import Circle
from orchestrator.agent.containers import Record
from orchestrator.agent.watch import Progress, accepted, done
from orchestrator.errors import Conflict, Missing, Mistake, OrchestratorError
from orchestrator.reconcile.plan import Remove
from orchestrator.reconcile.world import Wanted

Deed = Callable[[Circle, Record], Awaitable[str]]  # → the state that is told


def chosen(circle: Circle, stack: str, services: list[str]) -> tuple[Wanted, list[Record]]:
    """The stack and its containers of these services (none named: of all). Raises Missing, or Mistake by name."""
    wish = circle.wishes.get(stack)
    if wish is None:
        raise Missing(f"cannot find stack {stack!r}: it is not up here")
    unknown = [name for name in services if name not in wish.stack.services and name not in wish.orphans]
    if unknown:
        have = ", ".join(sorted(wish.stack.services))
        raise Mistake(*(f"no such service: {name}; {stack!r} has {have}" for name in unknown))
    here = [record for record in circle.containers.of(stack) if record.slot > 0]
    records = [record for record in here if not services or record.service in services]
    return wish, sorted(records, key=lambda record: (record.service, record.slot))


async def pause(circle: Circle, stack: str, services: list[str]) -> Progress:
    """Let every process of these services stand still, until `unpause`. Their checks rest meanwhile."""
    wish, records = chosen(circle, stack, services)
    running = [record for record in records if record.phase == "running" and not record.paused]
    if not running:
        raise Conflict(f"cannot pause: no container of {', '.join(services) or repr(stack)} is running")
    async for lines in _each(circle, wish, running, _pause):
        yield lines


async def unpause(circle: Circle, stack: str, services: list[str]) -> Progress:
    wish, records = chosen(circle, stack, services)
    paused = [record for record in records if record.paused]
    if not paused:
        raise Conflict(f"cannot unpause: no container of {', '.join(services) or repr(stack)} is paused")
    async for lines in _each(circle, wish, paused, _unpause):
        yield lines


async def signal(circle: Circle, stack: str, services: list[str], name: str) -> Progress:
    """Send a signal to the first process of each running container. What becomes of it is its policy's to say."""
    wish, records = chosen(circle, stack, services)
    running = [record for record in records if record.phase == "running"]
    if not running:
        raise Conflict(f"cannot send {name}: no container of {', '.join(services) or repr(stack)} is running")

    async def send(circle: Circle, record: Record) -> str:
        if record.paused:
            raise Conflict(f"cannot send {name} to {record.name}: it is paused; unpause it first")
        record.signalled = True
        await circle.launcher_or_fail().request("kill", container=record.id, signal=name)
        circle.events.note("kill", record.name, f"{name} sent", stack=stack, service=record.service)
        return "killed"

    async for lines in _each(circle, wish, running, send):
        yield lines


async def remove(circle: Circle, stack: str, services: list[str]) -> Progress:
    """Remove containers that do not run. A service of which nothing runs any more is not started until the next up."""
    wish, records = chosen(circle, stack, services)
    idle = [record for record in records if record.phase != "running"]
    left = {record.service for record in records} - {record.service for record in records if record not in idle}
    circle.wishes.put(replace(wish, active=wish.active - left, stopped=wish.stopped - left))
    async for lines in _each(circle, wish, idle, _remove):
        yield lines


async def _each(circle: Circle, wish: Wanted, records: list[Record], deed: Deed) -> Progress:
    """One after the other; a failure is told and does not keep the others from their turn."""
    began, failures = clock.now(), []
    yield [accepted(wish, ())]
    for record in records:
        try:
            state = await deed(circle, record)
        except OrchestratorError as error:
            failures.append((record.name, str(error)))
        else:
            yield [{"type": "state", "subject": record.name, "service": record.service, "state": state, "health": ""}]
    circle.bell.ring()
    yield [done(began, failures)]


async def _pause(circle: Circle, record: Record) -> str:
    circle.prober.forget(record)
    try:
        await circle.launcher_or_fail().request("pause", container=record.id)
    except OrchestratorError:
        circle.prober.watch(record)
        raise
    record.change(paused=True)
    circle.events.note("pause", record.name, "asked", stack=record.stack, service=record.service)
    return "paused"


async def _unpause(circle: Circle, record: Record) -> str:
    await circle.launcher_or_fail().request("unpause", container=record.id)
    record.change(paused=False)
    circle.prober.watch(record)
    circle.events.note("unpause", record.name, "asked", stack=record.stack, service=record.service)
    return "unpaused"


async def _remove(circle: Circle, record: Record) -> str:
    await circle.by_hand(Remove(record.name, record.id, "removed by hand"))
    return "removed"


def running(circle: Circle, stack: str, services: list[str]) -> list[Record]:
    """What `top` and `stats` ask about."""
    return [record for record in chosen(circle, stack, services)[1] if record.phase == "running"]


def row(record: Record) -> dict[str, Any]:
    return {"ID": record.id, "Name": record.name, "Service": record.service, "Slot": record.slot, "Pid": record.pid}
