"""An agent with nothing behind it: real HTTP on a real Unix socket, answers as the test says, requests kept to look at.

A reply is a function of the request that returns Json, Stream (pieces of a chunked body, sent as they come) or Upgrade
(the connection after 101). What has no reply is answered 404 in the agent's own shape.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PROJECT = Path(__file__).resolve().parents[2]


@dataclass
class Json:
    value: Any
    status: int = 200


@dataclass
class Stream:
    pieces: Iterable[bytes]


@dataclass
class Upgrade:
    serve: Callable[[socket.socket], None]


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class FakeAgent:
    """Listens at RUN/api.sock below `directory`; `pyorch(…)` runs the command line against it."""

    directory: Path
    replies: dict[str, Callable[[Request], Json | Stream | Upgrade]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> FakeAgent:
        run = self.directory / "run"
        run.mkdir(parents=True, exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(run / "api.sock"))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def pyorch(self, *words: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), **{"capture_output": True, "text": True, "env": self.environment(), **settings}
        )

    def command(self, *words: str) -> list[str]:
        code = "import sys; from orchestrator.cli.main import main; sys.exit(main())"
        return [sys.executable, "-c", code, *words]

    def environment(self, **more: str) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("COMPOSE_", "PYORCH_"))}
        return {**clean, "PYTHONPATH": str(PROJECT), "PYORCH_ROOT": str(self.directory), **more}

    def asked(self, path: str) -> Request:
        """The first request for `path`."""
        return next(request for request in self.requests if request.path == path)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # closed: the test is over
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            request = self._read(connection)
            if request is None:
                return
            self.requests.append(request)
            reply = self.replies.get(request.path)
            try:
                self._answer(connection, reply(request) if reply else missing(request.path))
            except (BrokenPipeError, ConnectionResetError):
                return  # the command went away first, as commands may

    def _read(self, connection: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        method, target, _ = first.split()
        parts = urlsplit(target)
        return Request(method, parts.path, dict(parse_qsl(parts.query)), json.loads(body) if body else None)

    def _answer(self, connection: socket.socket, reply: Json | Stream | Upgrade) -> None:
        match reply:
            case Json(value, status):
                body = json.dumps(value).encode()
                connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            case Stream(pieces):
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for piece in pieces:
                    connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                connection.sendall(b"0\r\n\r\n")
            case Upgrade(serve):
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: pyorch-exec\r\n\r\n")
                serve(connection)


def missing(path: str) -> Json:
    return error("missing", f"cannot find {path}", status=404)


def error(kind: str, message: str, complaints: Iterable[str] = (), status: int = 400) -> Json:
    return Json({"error": {"kind": kind, "message": message, "complaints": list(complaints)}}, status)


def ndjson(*messages: dict[str, Any]) -> Stream:
    return Stream([json.dumps(message).encode() + b"\n" for message in messages])


def frame(stream: int, index: int, moment: int, data: bytes) -> bytes:
    """A log frame as the agent sends it."""
    return bytes([stream]) + index.to_bytes(2) + moment.to_bytes(8) + len(data).to_bytes(4) + data


def container(name: str, service: str, **fields: Any) -> dict[str, Any]:
    """A row of /v1/containers."""
    return {
        "ID": "0123456789ab",
        "Name": name,
        "Image": "host:/",
        "Command": '"python3 -m http.server"',
        "Project": "shop",
        "Service": service,
        "State": "running",
        "Status": "Up 2 minutes",
        "Health": "",
        "ExitCode": 0,
        "RunningFor": "2 minutes ago",
        "Ports": "",
        "Publishers": [],
        "Reason": "",
        **fields,
    }
