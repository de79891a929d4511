"""Sockets on the gateway of every zone, and the road from a datagram to its answer.

A question asked before costs two system calls and two dictionary look-ups: whole answers are kept, by client and by the
bytes of the query behind its id.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping

from orchestrator.dns import wire
from orchestrator.dns.answer import answer, visible
from orchestrator.dns.loop import READ, Loop
from orchestrator.dns.streams import Streams
from orchestrator.dns.upstream import RESOLV_CONF, Asked, Resolvers, Upstream
from orchestrator.dns.zones import Directory, Zone

MOST_DATAGRAMS = 64  # taken from one socket before the others have their turn
MOST_KEPT = 4096  # answers per set of networks
RETRY = 1.0  # seconds between attempts to bind where it failed
IP_FREEBIND = 15  # linux/in.h: the gateway's address may come later than we do


class View:
    """What one set of networks sees, and the answers it was given already.

    `links`, `resolvers`: of a client that has its own.
    """

    __slots__ = ("answers", "links", "resolvers", "zones")

    def __init__(self, zones: tuple[Zone, ...], links: Mapping[str, str], resolvers: tuple[str, ...]) -> None:
        self.zones, self.links, self.resolvers = zones, links, resolvers
        self.answers: dict[bytes, Iterator[bytes]] = {}


class Listener:
    """The two sockets of one zone. Their address is the gateway's, so that replies leave from it."""

    def __init__(self, server: Server, zone: Zone) -> None:
        self.server, self.bridge, self.gateway = server, zone.bridge, zone.gateway
        self.clients: dict[str, View] = {}
        with contextlib.ExitStack() as undo:
            self.datagrams = _bound(socket.SOCK_DGRAM, zone.gateway, server.port)
            undo.callback(self.datagrams.close)
            self.connections = _bound(socket.SOCK_STREAM, zone.gateway, server.port)
            undo.callback(self.connections.close)
            self.connections.listen(64)
            undo.pop_all()
        server.loop.watch(self.datagrams.fileno(), READ, self.answer_datagrams)
        server.loop.watch(self.connections.fileno(), READ, self.accept)

    def close(self) -> None:
        for each in (self.datagrams, self.connections):
            self.server.loop.forget(each.fileno())
            each.close()

    def answer_datagrams(self) -> None:
        receive, send, clients = self.datagrams.recvfrom, self.datagrams.sendto, self.clients
        signals = self.server.loop.signals
        for _ in range(MOST_DATAGRAMS):
            try:
                query, client = receive(4096)
                signals()  # a zone written before the question was asked is read before it is answered
                view = clients.get(client[0]) or self.view(client[0])
                kept = view.answers.get(query[2:])
                if kept:
                    send(query[:2] + next(kept), client)
                else:
                    self.server.answer(view, query, client[0], False, self._sender(client))
            except BlockingIOError:
                return
            except OSError:  # this one client cannot be reached
                continue

    def _sender(self, client: tuple[str, int]) -> Callable[[bytes | None], None]:
        def send(reply: bytes | None) -> None:
            if reply and self.datagrams.fileno() >= 0:
                with contextlib.suppress(OSError):  # gone, or its queue is full: it will ask again
                    self.datagrams.sendto(reply, client)

        return send

    def accept(self) -> None:
        with contextlib.suppress(OSError):  # gone again, or no descriptor left
            connection, (client, _port) = self.connections.accept()
            connection.setblocking(False)
            if not self.view(client).zones:
                connection.close()
                return
            self.server.streams.take(connection, client, self._ask)

    def _ask(self, query: bytes, client: str, respond: Callable[[bytes | None], None]) -> None:
        self.server.answer(self.view(client), query, client, True, respond)

    def view(self, client: str) -> View:
        """Clients of the same networks share what they were answered."""
        if client not in self.clients:
            zones = self.server.directory.zones
            seen = visible(zones[self.bridge], client, zones) if self.bridge in zones else ()
            if not seen:
                return _STRANGER
            bridges = tuple(zone.bridge for zone in seen)
            own = seen[0].links.get(client, {}), seen[0].resolvers.get(client, ())
            key = (*bridges, client) if any(own) else bridges
            self.clients[client] = self.server.views.setdefault(key, View(seen, *own))
        return self.clients[client]


class Server:
    def __init__(
        self, zones: str, status: str, *, port: int = 53, upstream: int = 53, resolvers: str = RESOLV_CONF
    ) -> None:
        self.loop, self.port, self.status = Loop(), port, status
        self.directory = Directory(zones)
        self.upstream = Upstream(self.loop, Resolvers(resolvers), upstream)
        self.streams = Streams(self.loop)
        self.listeners: dict[str, Listener] = {}
        self.views: dict[tuple[str, ...], View] = {}
        self.failures: dict[str, str] = {}
        self._again: float | None = None
        self.loop.at_times(self._retry)

    def reload(self) -> None:
        """Read the zones again: bind what is new, close what is gone, forget every answer. A failure is told in
        RUN/dns.status and tried again each second."""
        if self.directory.read() or self.failures:
            self._listen()
        self._tell()

    def _listen(self) -> None:
        zones = self.directory.zones
        self.views.clear()
        for bridge, listener in list(self.listeners.items()):
            listener.clients.clear()
            if bridge not in zones or zones[bridge].gateway != listener.gateway:
                self.listeners.pop(bridge).close()
        self.failures.clear()
        for bridge in zones.keys() - self.listeners.keys():
            gateway = zones[bridge].gateway
            try:
                self.listeners[bridge] = Listener(self, zones[bridge])
            except OSError as error:
                self.failures[bridge] = f"cannot answer names on {gateway}:{self.port}: {error.strerror}"
        self.upstream.ours = frozenset(zone.gateway for zone in zones.values())
        self._again = time.monotonic() + RETRY if self.failures else None

    def _retry(self, now: float) -> float | None:
        if self._again is not None and now >= self._again:
            self.reload()
        return self._again

    def _tell(self) -> None:
        """RUN/dns.status: by bridge, whether its names are answered, and if not, why."""
        zones = {
            bridge: {"gateway": zone.gateway, "listening": bridge in self.listeners, "error": self._error(bridge)}
            for bridge, zone in self.directory.zones.items()
        }
        unread = {bridge: {"listening": False, "error": why} for bridge, why in self.directory.errors.items()}
        temporary = f"{self.status}.new"
        try:
            with open(temporary, "w") as file:
                json.dump({"pid": os.getpid(), "zones": unread | zones}, file)
            os.replace(temporary, self.status)
        except OSError as error:  # the disk is full, or RUN is being removed: names are answered all the same
            print(f"cannot write {self.status}: {error.strerror}", file=sys.stderr)

    def _error(self, bridge: str) -> str | None:
        return self.failures.get(bridge) or self.directory.errors.get(bridge)

    def answer(
        self, view: View, message: bytes, client: str, stream: bool, respond: Callable[[bytes | None], None]
    ) -> None:
        """Answer one message, at once or when the host's resolvers did. None: it deserves no answer."""
        if not view.zones or len(message) < 12 or message[2] & 0x80:
            respond(None)  # a stranger, no message at all, or an answer: answering answers would never end
            return
        try:
            query = wire.parse(message)
        except wire.Malformed:
            respond(wire.complaint(message, wire.FORMERR))
            return
        replies = answer(query, view.zones, view.links, stream=stream)
        if replies is None:
            failed = wire.reply(query, wire.SERVFAIL)
            asked = Asked(message, query.question, client, stream, view.resolvers)
            self.upstream.ask(asked, lambda reply: respond(reply or failed))
            return
        if not stream:
            self._keep(view, message[2:], replies)
        respond(replies[0])

    def _keep(self, view: View, asked: bytes, replies: tuple[bytes, ...]) -> None:
        if len(view.answers) >= MOST_KEPT:
            view.answers.clear()
        turns = itertools.cycle([reply[2:] for reply in replies])
        next(turns)  # the first is just being sent
        view.answers[asked] = turns


_STRANGER = View((), {}, ())


def _bound(kind: int, address: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        bound.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound
