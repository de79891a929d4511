"""POST /v1/stacks/NAME/exec: one command in a container, its streams over the upgraded connection.

A frame: u8 type, u32 length (big endian), bytes. From the client: 0 stdin, 5 end of stdin, 4 JSON {"rows", "cols"}.
From us: 1 stdout (and everything of a terminal), 2 stderr, 3 JSON {"code"} as the last. The process gets pipes or a
terminal of its own; a descriptor of the caller never gets into a container.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
from collections.abc import Mapping
from typing import Any

from orchestrator.agent.circle import Circle
from orchestrator.agent.containers import Record
from orchestrator.api.http import Json, Reply, Upgrade
from orchestrator.errors import Conflict, Missing, Mistake

FRAME = struct.Struct("!BI")
READ = 1 << 16
LAST_WORDS = 0.2  # seconds that output may still come after the command ended: a child of it may hold the pipe for ever


async def answer(circle: Circle, stack: str, body: dict[str, Any]) -> Reply:
    """Start the command; its failure to start is an error of the request, before any upgrade."""
    record = find(circle, stack, str(body.get("service") or ""), body.get("index"))
    command = body.get("command")
    if not isinstance(command, list) or not command:
        raise Mistake("cannot exec: no command was given")
    request = {
        "container": record.id,
        "args": [str(word) for word in command],
        "env": body.get("environment") or {},
        "cwd": body.get("working_dir"),
        "user": body.get("user"),
        "tty": bool(body.get("tty")),
        "stdin": bool(body.get("stdin", True)),
        "rows": body.get("rows"),
        "cols": body.get("cols"),
    }
    if body.get("detach"):
        reply = await circle.launcher_or_fail().request("exec", **request, capture=0, timeout=None)
        return Json({"exec": reply["exec"]})
    stack_of_contexts = contextlib.AsyncExitStack()
    id, descriptors, ending = await stack_of_contexts.enter_async_context(circle.exec(**request))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with stack_of_contexts:
            await _Relay(circle, id, reader, writer, descriptors, ending).run()

    return Upgrade("pyorch-exec", serve)


def find(circle: Circle, stack: str, service: str, index: Any, verb: str = "exec") -> Record:
    """The running replica meant: `index`, else the first. Raises Missing, or Conflict where it does not run."""
    wish = circle.wishes.get(stack)
    if wish is None:
        raise Missing(f"cannot {verb}: stack {stack!r} is not up here")
    if service not in wish.stack.services and service not in wish.orphans:
        raise Mistake(f"no such service: {service}; {stack!r} has {', '.join(sorted(wish.stack.services))}")
    replicas = sorted(
        (r for r in circle.containers.of(stack) if r.service == service and r.slot > 0), key=lambda r: r.slot
    )
    running = [r for r in replicas if r.phase == "running" and (index is None or r.slot == int(index))]
    if not running:
        which = f"container #{index}" if index is not None else "running container"
        raise Conflict(f"cannot {verb} in {service!r}: service {service!r} is not running {which}")
    if running[0].paused and verb == "exec":
        raise Conflict(f"cannot exec in {running[0].name}: it is paused; unpause it first")
    return running[0]


class _Relay:
    """Moves bytes both ways until the command has ended and its output is told."""

    def __init__(
        self,
        circle: Circle,
        id: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        descriptors: list[int],
        ending: asyncio.Future[Mapping[str, Any]],
    ) -> None:
        self._circle = circle
        self._id = id
        self._reader = reader
        self._writer = writer
        self._ending = ending
        if len(descriptors) == 1:  # a terminal: one descriptor both ways
            self._input, outputs = os.dup(descriptors[0]), [(1, descriptors[0])]
        else:
            self._input, outputs = descriptors[0], [(1, descriptors[1]), (2, descriptors[2])]
        self._outputs = outputs

    async def run(self) -> None:
        pumps = [asyncio.ensure_future(self._pump(kind, fd)) for kind, fd in self._outputs]
        client = asyncio.ensure_future(self._listen())
        try:
            waiting: list[asyncio.Future[Any]] = [client, self._ending]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not self._ending.done():
                return  # the client left: leaving the exec's context ends the command
            await asyncio.wait(pumps, timeout=LAST_WORDS)
            message = self._ending.result()
            code = message["code"] if message["code"] is not None else 128 + (message.get("signal") or 9)
            self._send(3, json.dumps({"code": code}).encode())
            await self._writer.drain()
        finally:
            for task in (*pumps, client):
                task.cancel()
            await asyncio.wait({*pumps, client})
            self._close_input()

    def _send(self, kind: int, data: bytes) -> None:
        self._writer.write(FRAME.pack(kind, len(data)) + data)

    async def _pump(self, kind: int, descriptor: int) -> None:
        """Output of the command to the client, no faster than the client takes it."""
        os.set_blocking(descriptor, False)
        try:
            while data := await read(descriptor):
                self._send(kind, data)
                await self._writer.drain()
        finally:
            os.close(descriptor)

    async def _listen(self) -> None:
        """Frames of the client, until it leaves."""
        buffer = b""
        os.set_blocking(self._input, False)
        while data := await self._reader.read(READ):
            buffer += data
            while len(buffer) >= FRAME.size:
                kind, length = FRAME.unpack_from(buffer)
                if len(buffer) < FRAME.size + length:
                    break
                piece, buffer = buffer[FRAME.size : FRAME.size + length], buffer[FRAME.size + length :]
                await self._take(kind, piece)

    async def _take(self, kind: int, data: bytes) -> None:
        if kind == 0 and self._input >= 0:
            try:
                await write(self._input, data)
            except (BrokenPipeError, OSError):
                self._close_input()  # the command reads no more: what is typed is lost, as in a shell's pipe
        elif kind == 5 and len(self._outputs) == 2:
            self._close_input()
        elif kind == 4:
            size = json.loads(data)
            await self._circle.launcher_or_fail().request("resize", exec=self._id, rows=size["rows"], cols=size["cols"])

    def _close_input(self) -> None:
        if self._input >= 0:
            os.close(self._input)
            self._input = -1


async def read(descriptor: int) -> bytes:
    """What is there, b"" at the end; a terminal whose other side is gone says EIO (pty(7))."""
    while True:
        try:
            return os.read(descriptor, READ)
        except BlockingIOError:
            await _ready(descriptor, write=False)
        except OSError:
            return b""


async def write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            await _ready(descriptor, write=True)


async def _ready(descriptor: int, write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(descriptor, _wake, ready)
    try:
        await ready
    finally:
        remove(descriptor)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
