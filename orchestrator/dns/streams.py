"""DNS over TCP (RFC 7766): two bytes of length before each message. Few, short, and never in the way of the rest."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from orchestrator.dns.loop import READ, WRITE, Loop

MOST_STREAMS, MOST_OF_ONE = 128, 16
PATIENCE = 5.0  # seconds for a whole message to arrive, and for its answer to be taken
MOST_UNSENT = 1 << 18  # bytes
MOST_UNANSWERED = 16

Ask = Callable[[bytes, str, Callable[[bytes | None], None]], None]  # message, client, respond


class Streams:
    """All open connections. The oldest makes room for the newest, so that idle ones can hold nobody up."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.open: dict[Stream, None] = {}  # by deadline
        loop.at_times(self._expire)

    def take(self, connection: socket.socket, client: str, ask: Ask) -> None:
        same = [stream for stream in self.open if stream.client == client]
        if len(same) >= MOST_OF_ONE:
            same[0].close()
        elif len(self.open) >= MOST_STREAMS:
            next(iter(self.open)).close()
        Stream(self, connection, client, ask)

    def _expire(self, now: float) -> float | None:
        while self.open:
            stream = next(iter(self.open))
            if stream.deadline > now:
                return stream.deadline
            stream.close()
        return None


class Stream:
    __slots__ = ("ask", "client", "connection", "deadline", "inbox", "outbox", "streams", "unanswered")

    def __init__(self, streams: Streams, connection: socket.socket, client: str, ask: Ask) -> None:
        self.streams, self.connection, self.client, self.ask = streams, connection, client, ask
        self.inbox = self.outbox = b""
        self.unanswered = 0
        self._postpone()
        streams.loop.watch(connection.fileno(), READ, self._ready)

    def _postpone(self) -> None:
        self.deadline = time.monotonic() + PATIENCE
        self.streams.open.pop(self, None)
        self.streams.open[self] = None

    def _ready(self) -> None:
        if self.outbox:
            self._send()
        if self in self.streams.open:
            self._receive()

    def _receive(self) -> None:
        try:
            data = self.connection.recv(16384)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.inbox += data
        while self in self.streams.open and len(self.inbox) >= 2:
            length = int.from_bytes(self.inbox[:2], "big")
            if len(self.inbox) < 2 + length:
                return
            message, self.inbox = self.inbox[2 : 2 + length], self.inbox[2 + length :]
            self._postpone()
            self.unanswered += 1
            if self.unanswered > MOST_UNANSWERED:
                self.close()
                return
            self.ask(message, self.client, self._respond)

    def _respond(self, reply: bytes | None) -> None:
        if self not in self.streams.open:
            return
        self.unanswered -= 1
        if reply is None:  # not worth an answer: not a query
            self.close()
            return
        self.outbox += len(reply).to_bytes(2, "big") + reply
        self._send()

    def _send(self) -> None:
        try:
            self.outbox = self.outbox[self.connection.send(self.outbox) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if len(self.outbox) > MOST_UNSENT:
            self.close()
        else:
            self.streams.loop.watch(self.connection.fileno(), READ | WRITE if self.outbox else READ, self._ready)

    def close(self) -> None:
        if self in self.streams.open:
            del self.streams.open[self]
            self.streams.loop.forget(self.connection.fileno())
            self.connection.close()
