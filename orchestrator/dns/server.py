"""All listeners, those of the gateways and those inside of containers, and the road from a message to its answer.

A question asked before costs two system calls and two dictionary look-ups: whole answers are kept, by client and by the
bytes of the query behind its id.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable

from orchestrator.dns import wire
from orchestrator.dns.answer import answer, visible
from orchestrator.dns.listeners import STRANGER, Gateway, Inner, View
from orchestrator.dns.loop import Loop
from orchestrator.dns.streams import Streams
from orchestrator.dns.upstream import RESOLV_CONF, Asked, Resolvers, Upstream
from orchestrator.dns.zones import Directory

MOST_KEPT = 4096  # answers per set of networks
LOOPBACK = "127.0.0.11"  # what we are inside of containers: no resolver of theirs or of the host's
RETRY = 1.0  # seconds between attempts to bind where it failed


class Server:
    def __init__(
        self, zones: str, status: str, *, port: int = 53, upstream: int = 53, resolvers: str = RESOLV_CONF
    ) -> None:
        self.loop, self.port, self.status = Loop(), port, status
        self.directory = Directory(zones)
        self.upstream = Upstream(self.loop, Resolvers(resolvers), upstream)
        self.streams = Streams(self.loop)
        self.listeners: dict[str, Gateway] = {}
        self.inner: set[Inner] = set()
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
        for inner in self.inner:
            inner.clients.clear()
        for bridge, listener in list(self.listeners.items()):
            listener.clients.clear()
            if bridge not in zones or zones[bridge].gateway != listener.gateway:
                self.listeners.pop(bridge).close()
        self.failures.clear()
        for bridge in zones.keys() - self.listeners.keys():
            gateway = zones[bridge].gateway
            try:
                self.listeners[bridge] = Gateway(self, zones[bridge])
            except OSError as error:
                self.failures[bridge] = f"cannot answer names on {gateway}:{self.port}: {error.strerror}"
        self.upstream.ours = frozenset((LOOPBACK, *(zone.gateway for zone in zones.values())))
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

    def view(self, bridge: str, client: str) -> View:
        """What a client sees that stands in the network of `bridge`. Those of the same networks share one view, and
        with it what they were answered."""
        zones = self.directory.zones
        seen = visible(zones[bridge], client, zones) if bridge in zones else ()
        if not seen:
            return STRANGER
        bridges = tuple(zone.bridge for zone in seen)
        own = seen[0].links.get(client, {}), seen[0].resolvers.get(client, ())
        key = (*bridges, client) if any(own) else bridges
        return self.views.setdefault(key, View(seen, *own))

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
