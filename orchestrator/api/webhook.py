"""The door for announcements of a push: POST /hook/SOURCE on the address its owner chose, signed with its secret.

All that a caller can bring about is an early look at the source; what is done then is the source's own rules' business.
GitHub, Gitea, Forgejo and GitLab send what is understood here.
"""

from __future__ import annotations

import asyncio
import contextlib

import h11

from orchestrator.agent.events import Events
from orchestrator.agent.sources.syncing import Syncing
from orchestrator.errors import Mistake

LARGEST = 1 << 20  # bytes of an announcement; nothing in it is read but its signature
PATIENCE = 10.0  # seconds a caller may take
CALLERS = 32  # at once


class Webhooks:
    """One listener per address that some source names."""

    def __init__(self, syncing: Syncing, events: Events) -> None:
        self._syncing = syncing
        self._events = events
        self._servers: dict[str, asyncio.Server] = {}
        self._room = asyncio.Semaphore(CALLERS)

    async def settle(self) -> None:
        """Listen exactly where the sources say. Raises Mistake where an address cannot be listened on."""
        wanted = {follower.source.webhook for follower in self._syncing if follower.source.webhook}
        for address in self._servers.keys() - wanted:
            self._servers.pop(address).close()
        for address in sorted(wanted - self._servers.keys()):
            host, _, port = address.rpartition(":")
            try:
                self._servers[address] = await asyncio.start_server(self._serve, host.strip("[]") or None, int(port))
            except (OSError, ValueError, OverflowError) as error:
                raise Mistake(f"cannot listen for webhooks on {address}: {error}; write HOST:PORT") from error

    async def recall(self) -> None:
        """As `settle`, when the agent begins: trouble is told, it stops nothing."""
        try:
            await self.settle()
        except Mistake as mistake:
            self._events.note("trouble", "webhook", str(mistake), kind="sync")

    def close(self) -> None:
        for server in self._servers.values():
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(PATIENCE), self._room:
                    await self._answer(reader, writer)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 14)
        try:
            status, text = await self._status(http, reader)
        except h11.RemoteProtocolError as error:
            status, text = error.error_status_hint, "cannot read the request"
        body = f"{text}\n".encode()
        head = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")]
        for event in (h11.Response(status_code=status, headers=head), h11.Data(data=body), h11.EndOfMessage()):
            writer.write(http.send(event) or b"")
        await writer.drain()

    async def _status(self, http: h11.Connection, reader: asyncio.StreamReader) -> tuple[int, str]:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(1 << 16))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > LARGEST:
                    return 413, f"more than {LARGEST} bytes"
            elif isinstance(event, h11.ConnectionClosed) or head is None:
                raise ConnectionResetError("the caller left")
            else:
                break
        headers = {name: value.decode("latin-1") for name, value in head.headers}
        room, _, name = head.target.decode("latin-1").lstrip("/").partition("/")
        if head.method != b"POST" or room != "hook":
            return 404, "POST /hook/SOURCE"
        signature, token = headers.get(b"x-hub-signature-256", ""), headers.get(b"x-gitlab-token", "")
        if not self._syncing.hook(name, bytes(body), signature, token):
            return 403, "no such source, or not signed with its secret"
        return 202, "looking"
