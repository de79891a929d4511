"""The agent's API from the caller's side: HTTP/1.1 over the Unix socket (RFC 9112), as much of it as the agent speaks.

http.client would cost every command 40 ms of import and `socket` another 10; this file needs `_socket`, the C half of
the latter. One connection a request: on a Unix socket that costs 50 µs and spares all thought about its state.
"""

from __future__ import annotations

import _socket

from orchestrator.api.response import Response, cut_short, received

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


class Client:
    """The agent that listens on `path`. Every method raises what the agent answered (errors.revive), or Unreachable.

    `start` starts one. It is called once, and the request said again, where nobody took it: the agent that was there a
    moment ago was just ending.
    """

    def __init__(self, path: str, start: Callable[[], object] | None = None) -> None:
        self.path = path
        self._start = start

    def answers(self) -> bool:
        """Whether somebody lives there: one that is being killed still takes connections, and says nothing more.

        PermissionError: someone does, but not for us.
        """
        try:
            connection = self._connect()
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        _say(connection, b"GET /v1/ping HTTP/1.1\r\nHost: pyorch\r\nConnection: close\r\n\r\n")
        heard = bool(received(connection))
        connection.close()
        return heard

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
        request = head.encode() + content
        answer, refusal = self._answer(request)
        if answer is None and self._start is not None:
            self._start()
            answer, refusal = self._answer(request)
        if answer is None:
            if refusal is not None:
                _unreachable(self.path, refusal)
            cut_short(self.path)
        if answer.status >= 400:
            _raise(answer)
        return answer

    def _answer(self, request: bytes) -> tuple[Response | None, OSError | None]:
        """None: nobody took it, for that reason; None without a reason: somebody did, and went away without a word."""
        try:
            connection = self._connect()
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
            return None, error
        except OSError as error:
            _unreachable(self.path, error)
        _say(connection, request)
        begun = received(connection)
        return (Response(connection, self.path, begun) if begun else None), None

    def _connect(self) -> _socket.socket:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        connection.connect(self.path)
        return connection


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
            why = error.strerror or str(error)
    raise Unreachable(f"cannot reach the agent at {path}: {why}") from error
