"""Being attached to a container's first process: its output as it comes, our stdin for it, its end.

POST /v1/stacks/NAME/run starts a container of `run` and attaches to it; POST /v1/stacks/NAME/attach does so to one that
runs. Frames are those of exec (see execs.py), and one more from the client: 6 JSON {"signal"}. The output is read where
the launcher keeps it, so that nobody's leaving holds the container up.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import struct
import termios
from typing import Any

from orchestrator.agent import one_off
from orchestrator.agent.circle import Circle
from orchestrator.agent.containers import Record
from orchestrator.agent.ends import code_of
from orchestrator.api.execs import FRAME, READ, find, write
from orchestrator.api.http import Json, Reply, Upgrade
from orchestrator.api.logs import log_directory
from orchestrator.errors import OrchestratorError
from orchestrator.runtime import logreader

LOOK_AGAIN = 0.02  # seconds between looks at the output: what is typed should be seen at once


async def run(circle: Circle, stack: str, asked: one_off.Run) -> Reply:
    """Start it; a failure to start is an error of the request, before any upgrade."""
    record = await one_off.start(circle, stack, asked)
    if asked.detach:
        return Json({"Name": record.name, "ID": record.id})
    circle.attached.add(record.id)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Conversation(circle, record, reader, writer, logreader.Follower(log_directory(circle, record))).run()
        finally:
            circle.attached.discard(record.id)
            circle.bell.ring()

    return Upgrade("pyorch-exec", serve)


async def attach(circle: Circle, stack: str, body: dict[str, Any]) -> Reply:
    record = find(circle, stack, str(body.get("service") or ""), body.get("index"))
    follower = logreader.Follower(log_directory(circle, record), tail=0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Conversation(circle, record, reader, writer, follower).run()

    return Upgrade("pyorch-exec", serve)


class _Conversation:
    def __init__(
        self,
        circle: Circle,
        record: Record,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        follower: logreader.Follower,
    ) -> None:
        self._circle, self._record, self._follower = circle, record, follower
        self._reader, self._writer = reader, writer
        self._run = record.runs
        self._input = circle.hands.inputs.of(record)

    async def run(self) -> None:
        tasks = [asyncio.ensure_future(self._tell()), asyncio.ensure_future(self._listen())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)  # the end, or the client has left
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._close_input()

    async def _tell(self) -> None:
        """What it writes, whole lines or not; then its exit code."""
        while True:
            over = self._record.phase != "running" or self._record.runs != self._run
            chunks = [*self._follower.poll(), *self._follower.finish()]
            for chunk in chunks:
                self._send(chunk.stream, chunk.data)
            await self._writer.drain()
            if over and not chunks:
                break
            if not chunks:
                await asyncio.sleep(LOOK_AGAIN)
        self._send(3, json.dumps({"code": code_of(self._record)}).encode())
        await self._writer.drain()

    def _send(self, kind: int, data: bytes) -> None:
        self._writer.write(FRAME.pack(kind, len(data)) + data)

    async def _listen(self) -> None:
        buffer = b""
        while data := await self._reader.read(READ):
            buffer += data
            while len(buffer) >= FRAME.size:
                kind, length = FRAME.unpack_from(buffer)
                if len(buffer) < FRAME.size + length:
                    break
                piece, buffer = buffer[FRAME.size : FRAME.size + length], buffer[FRAME.size + length :]
                await self._take(kind, piece)

    async def _take(self, kind: int, data: bytes) -> None:
        terminal = self._record.definition.sandbox.tty
        if kind == 0 and self._input is not None:
            try:
                await write(self._input, data)
            except OSError:
                self._close_input()  # it reads no more
        elif kind == 5 and not terminal:
            self._close_input()
            self._circle.hands.inputs.end(self._record)
        elif kind == 4 and terminal and self._input is not None:
            size = json.loads(data)
            with contextlib.suppress(OSError):
                rows, columns = int(size["rows"]), int(size["cols"])
                fcntl.ioctl(self._input, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        elif kind == 6:
            name = str(json.loads(data)["signal"])
            with contextlib.suppress(OrchestratorError):  # it has just ended
                await self._circle.launcher_or_fail().request("kill", container=self._record.id, signal=name)

    def _close_input(self) -> None:
        if self._input is not None:
            os.close(self._input)
            self._input = None
