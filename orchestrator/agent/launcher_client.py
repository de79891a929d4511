"""The agent's line to the launcher: requests and their replies, descriptors, and the events in between."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import itertools
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from orchestrator.agent import daemon
from orchestrator.errors import Unreachable, revive
from orchestrator.root import Root

LONGEST_PACKET = 1 << 20
MOST_DESCRIPTORS = 4
SEND_BUFFER = 4 << 20  # a wave of requests leaves without waiting
SO_SNDBUFFORCE = 32  # socket(7); beyond net.core.wmem_max, for root

Heard = Callable[[dict[str, Any]], None]


async def connect(root: Root, heard: Heard | None = None) -> LauncherClient:
    """A connection to the launcher of `root`, which is started where none answers. Raises Unreachable.

    `heard(event)` is called for every event ("exit", "exec-exit"), in order.
    """
    connection = _dial(root.launcher_socket)
    if connection is None:
        with held_output(root):
            await daemon.start("orchestrator.launcher.main", root)
        connection = _dial(root.launcher_socket)
    if connection is None:
        raise Unreachable(f"cannot reach the launcher at {root.launcher_socket}: it ended at once")
    return LauncherClient(connection, heard)


@contextlib.contextmanager
def held_output(root: Root) -> Iterator[None]:
    """Keeps what containers have printed from vanishing with them while no launcher reads it.

    A FIFO loses what is in it when the last process that has it open ends; then that process is us.
    """
    with contextlib.ExitStack() as held:
        for fifo in glob.glob(os.path.join(glob.escape(root.bundles), "*", "std*")):
            with contextlib.suppress(FileNotFoundError):  # deleted this very moment
                held.callback(os.close, os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        yield


def _dial(path: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


class LauncherClient:
    """`closed` is done when the launcher has ended; every request that waited then raises Unreachable."""

    def __init__(self, connection: socket.socket, heard: Heard | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._socket, self._heard = connection, heard
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._unsent: deque[tuple[bytes, Sequence[int]]] = deque()
        self._packet = bytearray(LONGEST_PACKET)
        connection.setblocking(False)
        with contextlib.suppress(PermissionError):  # smaller, then: what does not fit waits in _unsent
            connection.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
        self._loop.add_reader(connection.fileno(), self._receive)

    async def request(self, do: str, **fields: Any) -> dict[str, Any]:
        """The reply. Raises OrchestratorError with the launcher's sentence, or Unreachable where it died meanwhile."""
        reply, descriptors = await self.request_fds(do, **fields)
        _close(descriptors)
        return reply

    async def request_fds(
        self, do: str, *, give: Sequence[int] = (), **fields: Any
    ) -> tuple[dict[str, Any], list[int]]:
        """The reply and the descriptors that came with it, which are the caller's to close, as are those to `give`."""
        return await self.begin(do, give=give, **fields)

    def begin(
        self, do: str, *, give: Sequence[int] = (), **fields: Any
    ) -> asyncio.Future[tuple[dict[str, Any], list[int]]]:
        """Send the request now; what `request_fds` would return or raise is the future's to bring."""
        answer: asyncio.Future[tuple[dict[str, Any], list[int]]] = self._loop.create_future()
        if self.closed.done():
            answer.set_exception(Unreachable("cannot reach the launcher: the connection is closed"))
            return answer
        number = next(self._numbers)
        self._waiting[number] = answer
        self._send(json.dumps({"id": number, "do": do, **fields}).encode(), give)
        return answer

    def close(self) -> None:
        self._end()

    def _send(self, packet: bytes, give: Sequence[int]) -> None:
        if not self._unsent:
            try:
                self._put(packet, give)
                return
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._send_rest)
            except OSError:
                return  # the reader is about to find the connection closed, and fails every request
        self._unsent.append((packet, give))

    def _put(self, packet: bytes, give: Sequence[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(give)}i", *give))] if give else []
        self._socket.sendmsg([packet], rights)

    def _send_rest(self) -> None:
        try:
            while self._unsent:
                self._put(*self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
        self._loop.remove_writer(self._socket.fileno())

    def _receive(self) -> None:
        for _ in range(256):  # then let others have a turn
            try:
                length, ancillary, _, _ = self._socket.recvmsg_into(
                    [self._packet], socket.CMSG_SPACE(4 * MOST_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError:
                length, ancillary = 0, []
            if length == 0:
                self._end()
                return
            descriptors = [
                number for _, kind, data in ancillary if kind == socket.SCM_RIGHTS for number in _numbers(data)
            ]
            self._understand(json.loads(memoryview(self._packet)[:length].tobytes()), descriptors)

    def _understand(self, message: dict[str, Any], descriptors: list[int]) -> None:
        if "event" in message:
            if self._heard:
                # Behind the task that a reply just now woke: who starts an exec can note its number before its end.
                self._loop.call_soon(self._heard, message)
            return
        answer = self._waiting.pop(message["re"], None)
        if answer is None or answer.done():
            _close(descriptors)  # whoever asked has gone
        elif "error" in message:
            answer.set_exception(revive(message.get("kind", "error"), message["error"]))
        else:
            answer.set_result((message, descriptors))

    def _end(self) -> None:
        if self.closed.done():
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self.closed.set_result(None)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Unreachable("cannot reach the launcher: it ended before it answered"))
        self._waiting.clear()


def _numbers(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4])


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
