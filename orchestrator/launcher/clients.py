"""Who is connected: JSON objects, one a packet, over AF_UNIX SOCK_SEQPACKET; descriptors ride along (SCM_RIGHTS)."""

from __future__ import annotations

import array
import contextlib
import errno
import json
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence

from orchestrator.launcher.loop import HANGUP, IN, OUT, Loop

TYPE_CHECKING = False  # typing itself would cost the launcher half a megabyte
if TYPE_CHECKING:
    from typing import Any

LONGEST_REQUEST = 128 << 10
MOST_WAITING = 4096  # packets; a client that lets more pile up does not read
SEND_BUFFER = 1 << 20
SO_SNDBUFFORCE = 32  # socket(7); beyond net.core.wmem_max, for root

MOST_DESCRIPTORS = socket.CMSG_SPACE(4 * 4)
CMSG_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
MSG_TRUNC, MSG_NOSIGNAL = int(socket.MSG_TRUNC), int(socket.MSG_NOSIGNAL)  # enums are slow to compare

_request = bytearray(LONGEST_REQUEST)


class Refused(Exception):
    """A request that cannot be done; the text is the whole sentence the client gets. `kind`: see `errors`."""

    def __init__(self, sentence: str, kind: str = "error") -> None:
        super().__init__(sentence)
        self.kind = kind


class Client:
    """One connection. `hear(client, request)` gets each request; `gone(client)` is called once, at its end."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        hear: Callable[[Client, dict[str, Any]], None],
        gone: Callable[[Client], None],
    ) -> None:
        self._loop, self._socket, self._hear, self._gone = loop, connection, hear, gone
        self._waiting: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self.closed = False
        connection.setblocking(False)
        with contextlib.suppress(PermissionError):  # not root: then a long event may not fit
            connection.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
        loop.watch(connection.fileno(), IN, self._ready)

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Never blocks. The descriptors are closed here once they have left, or cannot leave."""
        packet = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
        if self.closed or len(self._waiting) >= MOST_WAITING:
            _close(descriptors)
            self._drop("it does not read")
            return
        self._waiting.append((packet, tuple(descriptors)))
        if len(self._waiting) == 1:
            self._flush()
            if self._waiting:
                self._loop.change(self._socket.fileno(), IN | OUT)

    def _flush(self) -> None:
        while self._waiting:
            packet, descriptors = self._waiting[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            try:
                self._socket.sendmsg([packet], rights, MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                    print(f"cannot answer a client: {error.strerror}", file=sys.stderr)
                self._drop("")
                return
            self._waiting.popleft()
            _close(descriptors)

    def _ready(self, events: int) -> None:
        if events & OUT:
            self._flush()
            if not self.closed and not self._waiting:
                self._loop.change(self._socket.fileno(), IN)
        if events & (IN | HANGUP) and not self.closed:
            self._receive()

    def _receive(self) -> None:
        """A fair share of what has come: the others are waiting, too."""
        for _ in range(64):
            try:
                length, ancillary, flags, _ = self._socket.recvmsg_into([_request], MOST_DESCRIPTORS, CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                length, ancillary, flags = 0, [], 0
            given = [n for _, kind, data in ancillary if kind == socket.SCM_RIGHTS for n in array.array("i", data)]
            if length == 0:  # the end (an empty packet looks the same, and says as little)
                self._drop("")
                return
            if flags & MSG_TRUNC:
                self.refuse(None, f"cannot read the request: it is longer than {LONGEST_REQUEST} bytes")
            else:
                self._understand(bytes(memoryview(_request)[:length]), given)
            _close(given)  # those that nobody took
            if self.closed:
                return

    def _understand(self, packet: bytes, given: list[int]) -> None:
        try:
            request = json.loads(packet)
        except (ValueError, RecursionError) as error:
            self.refuse(None, f"cannot read the request: not JSON: {error}")
            return
        if isinstance(request, dict):
            request["descriptors"] = given  # who takes one out of the list has it
            self._hear(self, request)
        else:
            self.refuse(None, "cannot read the request: not a JSON object")

    def refuse(self, number: object, sentence: str, kind: str = "error") -> None:
        self.send({"re": number, "error": sentence, "kind": kind})

    def _drop(self, why: str) -> None:
        if self.closed:
            return
        self.closed = True
        if why:
            print(f"a client was dropped: {why}", file=sys.stderr)
        for _, descriptors in self._waiting:
            _close(descriptors)
        self._waiting.clear()
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        self._gone(self)


class Reply:
    """The answer that is owed to one request: given once, now or later."""

    __slots__ = ("_client", "_number")

    def __init__(self, client: Client, number: object) -> None:
        self._client, self._number = client, number

    @property
    def nobody_waits(self) -> bool:
        """Its client has gone."""
        return self._client.closed

    def done(self, descriptors: Sequence[int] = (), **fields: Any) -> None:
        self._client.send({"re": self._number, **fields}, descriptors)

    def refuse(self, sentence: str, kind: str = "error") -> None:
        self._client.refuse(self._number, sentence, kind)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
