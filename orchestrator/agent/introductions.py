"""Bringing dns together with containers: it answers on 127.0.0.11 in each, by sockets that are opened there for it.

dns keeps them over the agent's death. After its own death the sockets are gone, and its successor is given new ones.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable

from orchestrator.agent.containers import Record
from orchestrator.network import names
from orchestrator.root import Root


class Introductions:
    """`trouble`: why a container cannot ask at 127.0.0.11, "" where all can."""

    def __init__(self, root: Root) -> None:
        self._path = root.dns_socket
        self._connection: socket.socket | None = None
        self._known: dict[str, int] = {}  # container id → its first process, of those that the living dns knows
        self.trouble = ""

    def introduce(self, record: Record, bridge: str, address: str, *, fresh: bool) -> None:
        """Where dns cannot be reached, or the network not be entered, a later `introduce_all` tries again."""
        pid = record.pid or 0
        if not self._reached():
            return
        try:
            life = os.pidfd_open(pid)
            try:
                sockets = names.opened(pid, fresh=fresh)
                if sockets is None or self._give(f"{bridge} {address}", [*sockets], life):
                    self._known[record.id] = pid
            finally:
                os.close(life)
        except (ProcessLookupError, FileNotFoundError):
            return  # it has just ended
        except OSError as error:
            self.trouble = f"cannot let {record.name} ask for names at {names.ADDRESS}: {error.strerror or error}"

    def introduce_all(self, present: Iterable[tuple[Record, str, str]]) -> None:
        """(container, bridge, address in it) of all that run: those that dns does not know."""
        self.trouble = ""
        here = list(present)
        self._known = {record.id: self._known[record.id] for record, _, _ in here if record.id in self._known}
        if self._connection is not None and not _lives(self._connection):
            self._hang_up()
        if not self._reached():  # it is not there yet, or of a version that knew nothing of this
            return
        for record, bridge, address in here:
            if self._known.get(record.id) != record.pid:
                self.introduce(record, bridge, address, fresh=False)

    def _reached(self) -> bool:
        if self._connection is None:
            with contextlib.suppress(OSError):
                self._connection = _dial(self._path)
        return self._connection is not None

    def _give(self, said: str, sockets: list[socket.socket], life: int) -> bool:
        assert self._connection is not None
        with contextlib.ExitStack() as ours:
            for each in sockets:
                ours.enter_context(each)
            try:
                socket.send_fds(self._connection, [said.encode()], [*(each.fileno() for each in sockets), life])
            except BlockingIOError:  # it has much to do
                return False
            except OSError:  # it died, or has not begun to live
                self._hang_up()
                return False
            return True

    def _hang_up(self) -> None:
        """Who comes next knows nobody."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._known.clear()


def _dial(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _lives(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1))  # it never says anything: nothing but its end can be read
    except BlockingIOError:
        return True
    except OSError:
        return False
