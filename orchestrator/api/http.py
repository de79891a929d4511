"""HTTP/1.1 over a Unix socket: h11 holds the protocol, this file the bytes.

A handler gets a Request and returns a Reply: a JSON value, a stream of chunks, or an upgrade to raw bytes.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import h11

from orchestrator.errors import HostRefused, Mistake, OrchestratorError

MAX_BODY = 4 << 20  # bytes: an environment and a list of names, never a file
READ = 1 << 16


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `words`: what stood in the path where the route has a `*`."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    words: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; {} where it is empty. Raises Mistake."""
        try:
            value = json.loads(self.body) if self.body else {}
        except ValueError as error:
            raise Mistake(f"cannot read the request: its body is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise Mistake("cannot read the request: its body must be a JSON object")
        return value

    def number(self, name: str) -> float | None:
        """A query parameter as a number, None where it is not given. Raises Mistake."""
        text = self.query.get(name)
        try:
            return None if not text else float(text)
        except ValueError as error:
            raise Mistake(f"cannot read {name}={text!r}: it must be a number") from error

    def names(self, name: str) -> list[str]:
        """A comma-separated query parameter."""
        return [word for word in self.query.get(name, "").split(",") if word]

    def flag(self, name: str) -> bool:
        return self.query.get(name, "0") not in ("", "0", "false")


@dataclass(frozen=True, slots=True)
class Json:
    value: Any
    status: int = 200


@dataclass(frozen=True, slots=True)
class Stream:
    """Chunks as they come; the first is made before the head is sent, so that an early error is a status of its own."""

    chunks: AsyncIterator[bytes]
    content_type: str = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """After 101 the connection belongs to `serve`."""

    protocol: str
    serve: Callable[[Any, asyncio.StreamWriter], Awaitable[None]]


Reply: TypeAlias = Json | Stream | Upgrade
Handler: TypeAlias = Callable[[Request], Awaitable[Reply]]


async def listen(path: str, handler: Handler) -> asyncio.Server:
    """Serve `handler` on a Unix socket of mode 0600. Raises HostRefused where it cannot be made."""
    if len(path.encode()) > 107:
        raise HostRefused(
            f"cannot listen on {path}: longer than the 107 bytes a socket's path may have; use a shorter --root"
        )
    try:
        if os.path.lexists(path):
            os.unlink(path)  # the lock says that its owner is dead
        mask = os.umask(0o177)
        try:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(path)
        finally:
            os.umask(mask)
    except OSError as error:
        raise HostRefused(f"cannot listen on {path}: {error.strerror}") from error
    return await asyncio.start_unix_server(lambda r, w: _serve(r, w, handler), sock=listener, backlog=512, limit=READ)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    try:
        if _is_ours(writer):
            await _Connection(reader, writer, handler).run()
    except ConnectionError:
        return  # the client went away: nothing is owed to it any more
    finally:
        writer.close()


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    """Only root and the agent's own user may ask, whatever the socket's mode says (unix(7), SO_PEERCRED)."""
    peer = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (0, os.getuid())


class _Connection:
    """One client; requests one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=READ)

    async def run(self) -> None:
        while True:
            try:
                head = await self._event()
                if not isinstance(head, h11.Request):
                    return
                request = await self._read(head)
            except h11.RemoteProtocolError as error:
                if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    await self._send_json(
                        error_json(Mistake(f"cannot read the request: {error}")), error.error_status_hint
                    )
                return
            if not await self._answer(request) or self._http.our_state is not h11.DONE:
                return
            if self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(READ))
        return event

    async def _read(self, head: h11.Request) -> Request:
        body = bytearray()
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("the client left in the middle of its request")
            body += event.data
            if len(body) > MAX_BODY:
                raise h11.RemoteProtocolError("its body is larger than 4 MiB", error_status_hint=413)
        if any(name == b"origin" for name, _ in head.headers):
            raise h11.RemoteProtocolError("browsers may not speak to the agent", error_status_hint=403)
        target = urllib.parse.urlsplit(head.target.decode("ascii"))
        query = dict(urllib.parse.parse_qsl(target.query, keep_blank_values=True))
        return Request(head.method.decode("ascii"), urllib.parse.unquote(target.path), query, bytes(body))

    async def _answer(self, request: Request) -> bool:
        """False where the connection has to end."""
        try:
            reply = await self._handler(request)
            if isinstance(reply, Stream):
                first = await anext(reply.chunks, b"")
        except OrchestratorError as error:
            await self._send_json(error_json(error), error.http_status)
            return True
        match reply:
            case Json(value, status):
                await self._send_json(value, status)
            case Stream(chunks, content_type):
                await self._send_stream(first, chunks, content_type)
            case Upgrade(protocol, serve):
                return await self._upgrade(protocol, serve)
        return True

    async def _send_json(self, value: Any, status: int) -> None:
        body = json.dumps(value).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        self._write(h11.Response(status_code=status, headers=headers))
        self._write(h11.Data(data=body))
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    async def _send_stream(self, first: bytes, chunks: AsyncIterator[bytes], content_type: str) -> None:
        self._write(
            h11.Response(status_code=200, headers=[("Content-Type", content_type), ("Transfer-Encoding", "chunked")])
        )
        gone = asyncio.ensure_future(self._reader.read(1))  # nothing more is expected: a read that ends is a goodbye
        try:
            if first:
                self._write(h11.Data(data=first))
            await self._writer.drain()
            while (chunk := await _unless(gone, chunks)) is not None:
                if chunk:
                    self._write(h11.Data(data=chunk))
                    await self._writer.drain()
            self._write(h11.EndOfMessage())
            await self._writer.drain()
        finally:
            gone.cancel()
            await chunks.aclose()  # type: ignore[attr-defined]  # every stream of ours is a generator

    async def _upgrade(self, protocol: str, serve: Callable[[Any, Any], Awaitable[None]]) -> bool:
        head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n"
        self._writer.write(head.encode())
        await serve(_Rest(self._http.trailing_data[0], self._reader), self._writer)
        return False

    def _write(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)


class _Rest:
    """A reader that first gives what h11 had read too far."""

    def __init__(self, early: bytes, reader: asyncio.StreamReader) -> None:
        self._early = early
        self._reader = reader

    async def read(self, count: int) -> bytes:
        if self._early:
            piece, self._early = self._early[:count], self._early[count:]
            return piece
        return await self._reader.read(count)


async def _unless(gone: asyncio.Future[bytes], chunks: AsyncIterator[bytes]) -> bytes | None:
    """The next chunk; None at the end, or once the client has left."""
    following = asyncio.ensure_future(anext(chunks, None))
    either: list[asyncio.Future[Any]] = [gone, following]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if following.done():
        return following.result()
    following.cancel()
    await asyncio.wait({following})
    return None


def error_json(error: OrchestratorError) -> dict[str, Any]:
    """An error as it travels; `errors.revive` makes it one again."""
    complaints = list(error.complaints) if isinstance(error, Mistake) else []
    return {"error": {"kind": error.kind, "message": str(error), "complaints": complaints}}
