"""Where questions arrive: on the gateway of every zone, and inside of every container on 127.0.0.11."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping

from orchestrator.dns.loop import READ
from orchestrator.dns.zones import Zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.dns.server import Server

MOST_DATAGRAMS = 64  # taken from one socket before the others have their turn
MOST_SOURCES = 64  # addresses of one container that are remembered
IP_FREEBIND = 15  # linux/in.h: the gateway's address may come later than we do


class View:
    """What one set of networks sees, and the answers it was given already.

    `links`, `resolvers`: of a client that has its own.
    """

    __slots__ = ("answers", "links", "resolvers", "zones")

    def __init__(self, zones: tuple[Zone, ...], links: Mapping[str, str], resolvers: tuple[str, ...]) -> None:
        self.zones, self.links, self.resolvers = zones, links, resolvers
        self.answers: dict[bytes, Iterator[bytes]] = {}


STRANGER = View((), {}, ())


class Listener:
    """Two sockets, for datagrams and for connections; who asks there is the business of `whose`."""

    __slots__ = ("bridge", "clients", "connections", "datagrams", "server")

    def __init__(self, server: Server, bridge: str, datagrams: socket.socket, connections: socket.socket) -> None:
        self.server, self.bridge = server, bridge
        self.datagrams, self.connections = datagrams, connections
        self.clients: dict[str, View] = {}  # by the address they ask from
        server.loop.watch(datagrams.fileno(), READ, self.answer_datagrams)
        server.loop.watch(connections.fileno(), READ, self.accept)

    def whose(self, source: str) -> str:
        """The address in the network of `bridge` of whoever asks from `source`."""
        return source

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
                    self.server.answer(view, query, self.whose(client[0]), False, self._sender(client))
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
        self.server.answer(self.view(client), query, self.whose(client), True, respond)

    def view(self, source: str) -> View:
        if source not in self.clients:
            view = self.server.view(self.bridge, self.whose(source))
            if view is STRANGER:
                return view
            if len(self.clients) >= MOST_SOURCES and not isinstance(self, Gateway):
                self.clients.clear()
            self.clients[source] = view
        return self.clients[source]


class Gateway(Listener):
    """Of one zone. The address is the gateway's, so that replies leave from it."""

    __slots__ = ("gateway",)

    def __init__(self, server: Server, zone: Zone) -> None:
        self.gateway = zone.gateway
        with contextlib.ExitStack() as undo:
            datagrams = _bound(socket.SOCK_DGRAM, zone.gateway, server.port)
            undo.callback(datagrams.close)
            connections = _bound(socket.SOCK_STREAM, zone.gateway, server.port)
            undo.callback(connections.close)
            connections.listen(64)
            undo.pop_all()
        super().__init__(server, zone.bridge, datagrams, connections)


class Inner(Listener):
    """Of one container, whose address in the network of `bridge` is `client`. `life`: a pidfd of its first process.

    Our sockets would keep its network namespace alive, and with it its address: they go when it ends.
    """

    __slots__ = ("client", "life")

    def __init__(
        self, server: Server, bridge: str, client: str, datagrams: socket.socket, connections: socket.socket, life: int
    ) -> None:
        self.client, self.life = client, life
        super().__init__(server, bridge, datagrams, connections)
        server.loop.watch(life, READ, self.close)
        server.inner.add(self)

    def whose(self, source: str) -> str:
        return self.client

    def close(self) -> None:
        super().close()
        self.server.loop.forget(self.life)
        os.close(self.life)
        self.server.inner.discard(self)


class Door:
    """RUN/dns.sock, where the agent brings sockets that it opened inside of containers."""

    def __init__(self, server: Server, path: str) -> None:
        self.server, self.loop = server, server.loop
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.socket.bind(path)
        os.chmod(path, 0o600)
        self.socket.listen(4)
        self.loop.watch(self.socket.fileno(), READ, self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self.socket.accept()
            connection.setblocking(False)
            self.loop.watch(connection.fileno(), READ, lambda: self._take(connection))

    def _take(self, connection: socket.socket) -> None:
        """Each packet: "BRIDGE ADDRESS", the datagram socket, the listening one, the pidfd."""
        while True:
            try:
                said, descriptors, _flags, _ = socket.recv_fds(connection, 256, 3, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                said, descriptors = b"", []
            if not said:
                self.loop.forget(connection.fileno())
                connection.close()
                return
            bridge, _, client = said.decode().partition(" ")
            if len(descriptors) == 3:
                datagrams, connections = (socket.socket(fileno=each) for each in descriptors[:2])
                Inner(self.server, bridge, client, datagrams, connections, descriptors[2])
            else:  # we have as many as we may have
                for each in descriptors:
                    os.close(each)


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
