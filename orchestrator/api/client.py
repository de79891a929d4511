"""The agent's API from the caller's side: HTTP/1.1 over the Unix socket (RFC 9112), as much of it as the agent speaks.

http.client would cost every command 40 ms of import and `socket` another 10; this file needs `_socket`, the C half of
the latter. One connection a request: on a Unix socket that costs 50 µs and spares all thought about its state.
"""

from __future__ import annotations

import _socket

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

CHUNK = 1 << 18  # bytes asked of the socket at a time


class Client:
    """The agent that listens on `path`. Every method raises what the agent answered (errors.revive), or Unreachable."""

    def __init__(self, path: str) -> None:
        self.path = path

    def answers(self) -> bool:
        """Whether somebody listens. PermissionError stays an error: someone does, but not to us."""
        try:
            self._connect().close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def get(self, path: str, **query: Any) -> Any:
        """The JSON value at `path`. Query values that are None are left out."""
        return _value(self.open("GET", path, query=query).all())

    def post(self, path: str, body: Any) -> Any:
        return _value(self.open("POST", path, body=body).all())

    def open(self, method: str, path: str, *, query: dict[str, Any] | None = None, body: Any = None) -> Response:
        """The answer, its head read and its body still to come."""
        return self._ask(method, path, query or {}, body, "Connection: close\r\n")

    def upgrade(self, path: str, body: Any, protocol: str) -> tuple[_socket.socket, bytes]:
        """The connection after the agent switched to `protocol`, and what it said already in it."""
        answer = self._ask("POST", path, {}, body, f"Connection: Upgrade\r\nUpgrade: {protocol}\r\n")
        if answer.status != 101:
            answer.all()
        return answer.socket, answer.rest

    def _ask(self, method: str, path: str, query: dict[str, Any], body: Any, headers: str) -> Response:
        content = b""
        if body is not None:
            import json

            content = json.dumps(body).encode()
            headers += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        head = f"{method} {path}{_query(query)} HTTP/1.1\r\nHost: pyorch\r\n{headers}\r\n"
        try:
            connection = self._connect()
        except OSError as error:
            _unreachable(self.path, error)
        _say(connection, head.encode() + content)
        answer = Response(connection, self.path)
        if answer.status >= 400:
            _raise(answer)
        return answer

    def _connect(self) -> _socket.socket:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        connection.connect(self.path)
        return connection


class Response:
    """An answer whose body arrives as it comes: chunked, of a known length, or until the connection closes."""

    def __init__(self, connection: _socket.socket, path: str) -> None:
        self.socket = connection
        self.path = path
        self.ended = False
        self.rest = b""  # received, not yet looked at
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
                _cut_short(self.path)
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
                _cut_short(self.path)
            self.rest += data
        head, self.rest = self.rest[:end], self.rest[end + 4 :]
        return head.split(b"\r\n")

    def _recv(self) -> bytes:
        try:
            return self.socket.recv(CHUNK)
        except ConnectionResetError:
            return b""

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


def _say(connection: _socket.socket, request: bytes) -> None:
    try:
        connection.sendall(request)
    except (BrokenPipeError, ConnectionResetError):
        return  # it answered (an error) before it had read all, and closed: its answer, read next, says more than this


def _query(query: dict[str, Any]) -> str:
    """The query string; percent-encoding of all but the unreserved characters (RFC 3986, 2.3), without urllib."""
    pairs = (f"{name}={_quoted(str(value))}" for name, value in query.items() if value is not None)
    joined = "&".join(pairs)
    return f"?{joined}" if joined else ""


def _quoted(text: str) -> str:
    return "".join(
        chr(byte) if byte < 128 and (chr(byte).isalnum() or byte in b"-._~/,") else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def quoted(name: str) -> str:
    """A name as one segment of a path."""
    return _quoted(name).replace("/", "%2F")


def _value(content: bytes) -> Any:
    import json

    return json.loads(content) if content else None


def _raise(answer: Response) -> NoReturn:
    """The error that the agent answered with, as the exception it was there."""
    from orchestrator.errors import OrchestratorError, revive

    content = answer.all()
    try:
        error = _value(content)["error"]
        revived = revive(error["kind"], error["message"], error.get("complaints") or ())
    except (ValueError, TypeError, KeyError) as cause:
        text = content.decode(errors="replace").strip()
        raise OrchestratorError(f"cannot do it: the agent answered {answer.status}: {text}") from cause
    raise revived


def _unreachable(path: str, error: OSError) -> NoReturn:
    from orchestrator.errors import Unreachable

    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            why = "it does not run; start it with 'pyorch agent start' or 'pyorch up'"
        case PermissionError():
            why = "it belongs to root; run pyorch with sudo"
        case _:
            why = str(error)
    raise Unreachable(f"cannot reach the agent at {path}: {why}") from error


def _cut_short(path: str) -> NoReturn:
    from orchestrator.errors import Unreachable

    raise Unreachable(
        f"cannot hear the rest of the agent's answer: it went away from {path}; what it began, it takes up again when "
        "it runs: 'pyorch agent start'"
    )
