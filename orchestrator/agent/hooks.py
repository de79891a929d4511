"""The hooks of a service: commands run inside its container (`post_start`, `pre_stop`), or in a container of their own
before its first one starts (`pre_start`; the deed that makes it is in `deeds`)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from orchestrator.agent.containers import Record
from orchestrator.errors import HostRefused, OrchestratorError
from orchestrator.reconcile.replica import Replica
from orchestrator.stack.model import Hook

Exec: TypeAlias = Callable[..., AbstractAsyncContextManager[tuple[str, list[int], asyncio.Future[Mapping[str, Any]]]]]
OUTPUT_KEPT = 4096  # bytes
LOOK = 0.5  # seconds
LONGEST = 3600.0  # seconds; a hook that hangs must not hang for ever


async def run(exec: Exec, record: Record, hook: Hook, title: str, timeout: float = LONGEST) -> str | None:
    """Run one hook inside a running container; None where it ended with 0, else what is to be said."""
    request = {
        "container": record.id,
        "args": list(hook.command),
        "env": dict(hook.environment),
        "cwd": hook.working_dir,
        "user": hook.user,
        "tty": False,
        "stdin": False,
        "capture": OUTPUT_KEPT,
        "timeout": timeout,
    }
    try:
        async with exec(**request) as (_, _, ending):
            message = await ending
    except OrchestratorError as error:
        return f"{title} hook could not be run: {error}"
    if message.get("timeout"):
        return f"{title} hook did not end within {timeout:g} s"
    return None if message["code"] == 0 else f"{title} hook exited with status {message['code']}{said(message)}"


async def after_start(exec: Exec, record: Record) -> None:
    """`post_start`. Raises HostRefused: a container whose hooks fail was not started."""
    made = record.definition.post_start
    for number, hook in enumerate(made):
        if complaint := await run(exec, record, hook, titled("post_start", number, len(made))):
            raise HostRefused(f"cannot start {record.name}: {complaint}")


async def before_stop(exec: Exec, record: Record, grace: float) -> list[str]:
    """`pre_stop`. One that fails is told of (the complaints are returned); it keeps nobody running."""
    made = record.definition.pre_stop
    complaints = []
    for number, hook in enumerate(made):
        if complaint := await run(exec, record, hook, titled("pre_stop", number, len(made)), timeout=grace):
            complaints.append(complaint)
    return complaints


async def until_ended(ended: asyncio.Future[None], wanted: Callable[[], bool]) -> None:
    """A `pre_start` hook may take its time, but not longer than somebody wants its stack. Raises HostRefused."""
    while not ended.done():
        await asyncio.wait({ended}, timeout=LOOK)
        if not ended.done() and not wanted():
            raise HostRefused("cannot go on with the pre_start hooks: the stack is not wanted any more")


def helper(replica: Replica, hook: Hook, name: str) -> Replica:
    """What runs a `pre_start` hook: the service with another command, published and checked by nobody."""
    service = replica.definition
    definition = dataclasses.replace(
        service,
        entrypoint=(),
        command=hook.command,
        user=hook.user or service.user,
        working_dir=hook.working_dir or service.working_dir,
        environment={**service.environment, **hook.environment},
        healthcheck=None,
        ports=(),
        post_start=(),
        pre_stop=(),
    )
    return dataclasses.replace(replica, slot=0, name=name, definition=definition)


def said(message: Mapping[str, Any]) -> str:
    """Its last line, where it wrote one."""
    lines = (message.get("output") or "").strip().splitlines()
    return f": {lines[-1]}" if lines else ""


def titled(kind: str, number: int, of: int) -> str:
    """ "post_start", or "post_start[1]" where there are several."""
    return kind if of == 1 else f"{kind}[{number}]"
