"""Files into and out of containers: GET …/archive is a tar, POST …/archive an upgraded connection that takes one.

Frames of the upload are those of exec: 0 bytes of the tar, 5 its end; our last one is 3, JSON {"error": null or why}.
The tar is read and written in a thread, through a pipe: how fast, the other side says.
"""

from __future__ import annotations

import asyncio
import json
import os
import tarfile
from collections.abc import AsyncIterator
from typing import Any

from orchestrator.agent.circle import Circle
from orchestrator.agent.containers import Record
from orchestrator.api.execs import FRAME, READ, find, read, write
from orchestrator.api.http import Json, Reply, Request, Stream, Upgrade
from orchestrator.errors import HostRefused, Missing
from orchestrator.runtime import copying


async def out_of(circle: Circle, request: Request) -> Reply:
    """The tar of `path`; with `kind=1` only what it is: {"kind": …}."""
    record, path = _record(circle, request.words[0], request.query), request.query.get("path", "")
    root = copying.root_of(record.pid or 0)
    try:
        found = copying.kind(root, path)
        if request.flag("kind"):
            os.close(root)
            return Json({"kind": found, "name": record.name})
        if found == "missing":
            raise Missing(f"cannot copy from {record.name}: there is no {path}")
    except OSError as error:
        os.close(root)
        raise HostRefused(f"cannot copy {path} from {record.name}: {error.strerror}") from error
    except Missing:
        os.close(root)
        raise
    return Stream(_packed(root, path, request.flag("follow")), "application/x-tar")


async def _packed(root: int, path: str, follow: bool) -> AsyncIterator[bytes]:
    reader, writer = os.pipe2(os.O_CLOEXEC)

    def pack() -> None:
        try:
            with open(writer, "wb") as out:
                copying.pack(root, path, out, follow=follow)
        except BrokenPipeError:
            pass  # who asked for it has gone
        finally:
            os.close(root)

    task = asyncio.ensure_future(asyncio.to_thread(pack))
    os.set_blocking(reader, False)
    try:
        while data := await read(reader):
            yield data
    finally:
        os.close(reader)
        await task


async def into(circle: Circle, request: Request) -> Reply:
    body = request.json()
    record, directory = _record(circle, request.words[0], body), str(body.get("directory") or "/")
    root = copying.root_of(record.pid or 0)
    if copying.kind(root, directory) != "directory":
        os.close(root)
        raise Missing(f"cannot copy into {record.name}: there is no directory {directory}")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        why = await _unpacked(root, directory, reader, bool(body.get("owners")))
        said = json.dumps({"error": why}).encode()
        writer.write(FRAME.pack(3, len(said)) + said)
        await writer.drain()

    return Upgrade("pyorch-tar", serve)


async def _unpacked(root: int, directory: str, reader: asyncio.StreamReader, owners: bool) -> str | None:
    inner, outer = os.pipe2(os.O_CLOEXEC)

    def unpack() -> str | None:
        try:
            with open(inner, "rb") as source:
                copying.unpack(root, directory, source, owners=owners)
        except (OSError, tarfile.TarError, ValueError) as error:
            sentence = getattr(error, "strerror", None) or str(error)
            return sentence if sentence.startswith("cannot") else f"cannot copy into {directory}: {sentence}"
        finally:
            os.close(root)
        return None

    task = asyncio.ensure_future(asyncio.to_thread(unpack))
    os.set_blocking(outer, False)
    try:
        async for piece in _pieces(reader):
            await write(outer, piece)
    except OSError:
        pass  # it reads no more: its answer says why
    finally:
        os.close(outer)
    return await task


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    buffer = b""
    while data := await reader.read(READ):
        buffer += data
        while len(buffer) >= FRAME.size:
            kind, length = FRAME.unpack_from(buffer)
            if len(buffer) < FRAME.size + length:
                break
            piece, buffer = buffer[FRAME.size : FRAME.size + length], buffer[FRAME.size + length :]
            if kind == 5:
                return
            yield piece


def _record(circle: Circle, stack: str, named: Any) -> Record:
    return find(circle, stack, str(named.get("service") or ""), named.get("index"), "copy")
