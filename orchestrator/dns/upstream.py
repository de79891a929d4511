"""Questions that are not about us, asked of the host's resolvers on the client's behalf.

Each question leaves from a socket of its own (a random port, and replies only from the resolver that was asked, both
the kernel's work) under a random id, and the reply must repeat the question: what a forger would have to guess.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence

from orchestrator.dns.loop import READ, WRITE, Loop

TRY = 1.5  # seconds for one resolver
MOST_TRIES = 3
MOST_PENDING, MOST_PENDING_OF_ONE = 512, 128
RESOLV_CONF = "/etc/resolv.conf"

Respond = Callable[[bytes | None], None]


class Resolvers:
    """The nameservers of resolv.conf(5), read again when the file changes; never one of our own."""

    def __init__(self, path: str = RESOLV_CONF) -> None:
        self._path, self._seen, self._servers = path, (0, 0), list[str]()

    def servers(self, ours: frozenset[str]) -> list[str]:
        try:
            status = os.stat(self._path)
            if self._seen != (status.st_mtime_ns, status.st_ino):
                with open(self._path, errors="replace") as file:
                    words = [line.split() for line in file]
                self._servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"][:MOST_TRIES]
                self._seen = (status.st_mtime_ns, status.st_ino)
        except OSError:
            return []
        return [server for server in self._servers if server not in ours]


class Asked:
    """A question, and for whom. `resolvers`: the client's own, asked instead of the host's."""

    __slots__ = ("client", "query", "question", "resolvers", "stream")

    def __init__(self, query: bytes, question: bytes, client: str, stream: bool, resolvers: Sequence[str]) -> None:
        self.query, self.question, self.client = query, question, client
        self.stream, self.resolvers = stream, resolvers


class Upstream:
    """All questions under way."""

    def __init__(self, loop: Loop, resolvers: Resolvers, port: int = 53) -> None:
        self.loop, self.resolvers, self.port = loop, resolvers, port
        self.ours: frozenset[str] = frozenset()
        self.pending: dict[Question, None] = {}  # by deadline: all tries take the same time
        self.of_client: Counter[str] = Counter()
        loop.at_times(self._expire)

    def ask(self, asked: Asked, respond: Respond) -> None:
        """`respond` gets the reply under the query's id, or None when no resolver answered."""
        own = [server for server in asked.resolvers[:MOST_TRIES] if server not in self.ours]
        servers, client = own or self.resolvers.servers(self.ours), asked.client
        full = len(self.pending) >= MOST_PENDING or self.of_client[client] >= MOST_PENDING_OF_ONE
        if full or not servers:
            respond(None)
            return
        tries = servers * 2 if len(servers) == 1 else servers
        self.of_client[client] += 1
        Question(self, asked, tries, respond).next()

    def _expire(self, now: float) -> float | None:
        while self.pending:
            question = next(iter(self.pending))
            if question.deadline > now:
                return question.deadline
            question.next()
        return None


class Question:
    __slots__ = (
        "asked",
        "client",
        "deadline",
        "inbox",
        "outbox",
        "query",
        "respond",
        "sent",
        "socket",
        "stream",
        "tries",
        "up",
    )

    def __init__(self, up: Upstream, asked: Asked, tries: list[str], respond: Respond) -> None:
        self.up, self.query, self.asked = up, asked.query, asked.question
        self.client, self.stream = asked.client, asked.stream
        self.tries, self.respond = list(tries), respond
        self.socket: socket.socket | None = None
        self.deadline = 0.0
        self.sent = self.inbox = self.outbox = b""

    def next(self) -> None:
        """Ask the next resolver, or give up."""
        self._close()
        while self.tries:
            if self._ask(self.tries.pop(0)):
                self.deadline = time.monotonic() + TRY
                self.up.pending[self] = None
                return
        self._end(None)

    def _ask(self, server: str) -> bool:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        kind = socket.SOCK_STREAM if self.stream else socket.SOCK_DGRAM
        self.sent, self.inbox = os.urandom(2), b""
        message = self.sent + self.query[2:]
        try:
            self.socket = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            if self.stream:
                self.outbox = len(message).to_bytes(2, "big") + message
                self.socket.connect_ex((server, self.up.port))
                self.up.loop.watch(self.socket.fileno(), WRITE, self._write)
            else:
                self.socket.connect((server, self.up.port))
                self.socket.send(message)
                self.up.loop.watch(self.socket.fileno(), READ, self._read)
        except OSError:  # no route, no such family, no descriptor left: the next resolver
            self._close()
            return False
        return True

    def _write(self) -> None:
        assert self.socket
        try:
            self.outbox = self.outbox[self.socket.send(self.outbox) :]
        except BlockingIOError:
            return
        except OSError:
            self.next()
            return
        if not self.outbox:
            self.up.loop.watch(self.socket.fileno(), READ, self._read)

    def _read(self) -> None:
        assert self.socket
        try:
            data = self.socket.recv(65537)
        except BlockingIOError:
            return
        except OSError:  # refused: nobody listens there
            self.next()
            return
        if not self.stream:
            if self._answers(data):
                self._end(data)
            return
        self.inbox += data
        if len(self.inbox) >= 2 and len(self.inbox) >= 2 + (length := int.from_bytes(self.inbox[:2], "big")):
            reply = self.inbox[2 : 2 + length]
            if self._answers(reply):
                self._end(reply)
            else:
                self.next()
        elif not data:
            self.next()

    def _answers(self, reply: bytes) -> bool:
        of_this = reply[:2] == self.sent and len(reply) >= 12 and bool(reply[2] & 0x80)
        return of_this and reply[12 : 12 + len(self.asked)].lower() == self.asked.lower()

    def _end(self, reply: bytes | None) -> None:
        self._close()
        self.up.of_client[self.client] -= 1
        if not self.up.of_client[self.client]:
            del self.up.of_client[self.client]
        self.respond(reply and self.query[:2] + reply[2:])

    def _close(self) -> None:
        self.up.pending.pop(self, None)
        if self.socket:
            self.up.loop.forget(self.socket.fileno())
            self.socket.close()
            self.socket = None
