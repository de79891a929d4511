"""An answer of the agent as it arrives: its head at once, its body piece by piece (RFC 9112, section 7)."""

from __future__ import annotations

import _socket

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

CHUNK = 1 << 18  # bytes asked of the socket at a time


class Response:
    """An answer whose body arrives as it comes: chunked, of a known length, or until the connection closes."""

    def __init__(self, connection: _socket.socket, path: str, begun: bytes = b"") -> None:
        """`begun`: what was received of it already."""
        self.socket = connection
        self.path = path
        self.ended = False
        self.rest = begun  # received, not yet looked at
        head = self._head()
        self.status = int(head[0].split(b" ", 2)[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head[1:])}
        self._chunked = self.headers.get(b"transfer-encoding", b"").lower() == b"chunked"
        length = self.headers.get(b"content-length")
        self._left = 0 if self._chunked else int(length) if length is not None else -1  # -1: until it closes
        self.ended = self._left == 0 and not self._chunked
        self._ready = self._decode() if self.status != 101 else b""

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether `receive` has something to say without waiting for the socket."""
        return bool(self._ready) or self.ended

    def receive(self) -> bytes | None:
        """What the next recv brings of the body (maybe nothing); None: there is no more. Unreachable if cut short."""
        if self._ready or self.ended:
            data, self._ready = self._ready, b""
            return data or None
        data = self._recv()
        if not data:
            if self._left >= 0:
                cut_short(self.path)
            self.ended = True
            return None
        self.rest = self.rest + data if self.rest else data
        return self._decode()

    def all(self) -> bytes:
        """The whole body; the connection is closed after it."""
        parts = []
        while (data := self.receive()) is not None:
            parts.append(data)
        self.close()
        return b"".join(parts)

    def messages(self) -> Iterator[Any]:
        """The body as newline-delimited JSON, each value as it comes."""
        lines = Lines()
        while (data := self.receive()) is not None:
            yield from lines.feed(data)

    def close(self) -> None:
        self.socket.close()

    def _head(self) -> list[bytes]:
        while (end := self.rest.find(b"\r\n\r\n")) < 0:
            data = self._recv()
            if not data:
                cut_short(self.path)
            self.rest += data
        head, self.rest = self.rest[:end], self.rest[end + 4 :]
        return head.split(b"\r\n")

    def _recv(self) -> bytes:
        return received(self.socket)

    def _decode(self) -> bytes:
        """What of `rest` is body; the remainder (half a chunk head) stays. Sets `ended` at the last byte."""
        if not self._chunked:
            data, self.rest = self.rest, b""
            if self._left > 0:
                data = data[: self._left]
                self._left -= len(data)
                self.ended = self._left == 0
            return data
        return self._dechunk()

    def _dechunk(self) -> bytes:
        """RFC 9112, 7.1: size in hexadecimal, CRLF, data, CRLF. `_left` is what the present chunk and its CRLF lack."""
        rest, at, parts = self.rest, 0, []
        while at < len(rest):
            if self._left:
                part = rest[at : at + self._left]
                at += len(part)
                self._left -= len(part)
                parts.append(part[: len(part) - 2 + self._left] if self._left < 2 else part)
                continue
            end = rest.find(b"\r\n", at)
            if end < 0:
                break
            size = int(rest[at:end].partition(b";")[0], 16)
            at = end + 2
            if size == 0:  # trailers, which the agent never sends, would follow
                self.ended = True
                break
            self._left = size + 2
        self.rest = rest[at:]
        return b"".join(parts)


class Lines:
    """Newline-delimited JSON, fed in pieces cut anywhere."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> Iterator[Any]:
        import json

        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line:
                yield json.loads(line)


def received(connection: _socket.socket) -> bytes:
    """What has come; b"": the other end is gone."""
    try:
        return connection.recv(CHUNK)
    except ConnectionResetError:
        return b""


def cut_short(path: str) -> NoReturn:
    from orchestrator.errors import Unreachable

    raise Unreachable(
        f"cannot hear the rest of the agent's answer: it went away from {path}; once it runs again ('pyorch agent "
        "start') it goes on with its stacks, and a pull, a build or a backup is to be asked for again"
    )
