"""A real registry for a test (Debian's docker-registry) on loopback, trouble put before it, and images for it."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import shutil
import socket
import socketserver
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BUSYBOX = shutil.which("busybox") or ""
needs_registry = pytest.mark.skipif(
    not (shutil.which("docker-registry") and shutil.which("skopeo")), reason="needs docker-registry and skopeo (Debian)"
)
# bcrypt of "secret": what htpasswd -B writes
_PASSWORD_FILE = "user:$2b$05$6CTlZKovsbu/Tfd1ck8N..w15ovvmOy.xcAMfYAszq5qNKeZIcoRK\n"
USER, PASSWORD = "user", "secret"


@dataclass
class Registry:
    """`host`: what stands before the repository in a reference."""

    host: str
    directory: Path
    password: bool = False

    def push(self, layout: Layout, name: str, *options: str) -> str:
        """By skopeo, as other people do it; returns the reference."""
        credentials = ["--dest-creds", f"{USER}:{PASSWORD}"] if self.password else []
        command = ["skopeo", "copy", "--insecure-policy", "-q", "--dest-tls-verify=false", *credentials, *options]
        subprocess.run([*command, f"oci:{layout.path}", f"docker://{self.host}/{name}"], check=True)
        return f"{self.host}/{name}"


@contextlib.contextmanager
def registry(
    directory: Path, *, password: bool = False, tls: tuple[Path, Path] | None = None, clients: Path | None = None
) -> Iterator[Registry]:
    """docker-registry with its files in `directory`, on a free port of loopback. `tls`: certificate and key; `clients`:
    the authority that must vouch for who asks."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if tls:
        config["http"]["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
    if clients:
        config["http"]["tls"]["clientcas"] = [str(clients)]
    if password:
        (directory / "htpasswd").write_text(_PASSWORD_FILE)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    (directory / "config.json").write_text(json.dumps(config))
    with open(directory / "log", "wb") as log:
        command = ["docker-registry", "serve", str(directory / "config.json")]
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until_listening(port)
        yield Registry(f"127.0.0.1:{port}", directory, password)
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_listening(port: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, f"nobody listens on {port}"
        time.sleep(0.02)


# images


def tar_of(files: Mapping[str, bytes | str | tarfile.TarInfo | None]) -> bytes:
    """A layer: path → content; None: a directory; a text: a symlink there; a TarInfo as it is."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, content in files.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(path)
            if isinstance(content, bytes):
                info.size, info.mode = len(content), 0o755
                tar.addfile(info, io.BytesIO(content))
                continue
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            tar.addfile(info)
    return made.getvalue()


def busybox_files() -> dict[str, bytes | str | tarfile.TarInfo | None]:
    """A root in which a shell and the usual programs work."""
    names = ("sh", "cat", "echo", "sleep", "ls", "id", "env", "test", "true", "false", "wget", "touch", "mkdir", "rm")
    links: dict[str, bytes | str | tarfile.TarInfo | None] = {f"bin/{name}": "busybox" for name in names}
    passwd = b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n"
    return {
        "bin": None,
        "bin/busybox": Path(BUSYBOX).read_bytes(),
        **links,
        "etc": None,
        "etc/passwd": passwd,
        "etc/group": b"root:x:0:\nweb:x:1000:\n",
        "tmp": None,
    }


@dataclass
class Layout:
    """An OCI image layout written by the test: every byte of it is the test's to choose."""

    path: Path
    manifests: list[dict[str, Any]] = field(default_factory=list)

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        code = hashlib.sha256(content).hexdigest()
        place = self.path / "blobs/sha256" / code
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{code}", "size": len(content)}

    def file(self, digest: str) -> Path:
        return self.path / "blobs" / digest.replace(":", "/")

    def add(
        self,
        layers: Sequence[bytes],
        config: Mapping[str, Any] | None = None,
        *,
        platform: tuple[str, str] = ("linux", "amd64"),
        compress: Callable[[bytes], bytes] = lambda data: gzip.compress(data, 1),
        suffix: str = "+gzip",
        tag: str = "latest",
    ) -> dict[str, Any]:
        """One image of these tars; returns its descriptor."""
        kind = "application/vnd.oci.image"
        blobs = [self.blob(compress(layer), f"{kind}.layer.v1.tar{suffix}") for layer in layers]
        document = {
            "os": platform[0],
            "architecture": platform[1],
            "config": dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in layers]},
            "created": "2024-05-06T07:08:09Z",
            "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": self.blob(json.dumps(document).encode(), f"{kind}.config.v1+json"),
            "layers": blobs,
        }
        made = self.blob(json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")
        made["platform"] = {"os": platform[0], "architecture": platform[1]}
        self._write([*self.manifests, made | {"annotations": {"org.opencontainers.image.ref.name": tag}}])
        self.manifests.append(made)
        return made

    def index(self) -> None:
        """All images added become one, for several platforms."""
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.manifests,
        }
        self._write([self.blob(json.dumps(index).encode(), index["mediaType"])])

    def _write(self, manifests: list[dict[str, Any]]) -> None:
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))


def busybox_image(path: Path, extra: Sequence[bytes] = (), config: Mapping[str, Any] | None = None) -> Layout:
    """A layout with one image that runs: busybox, and further layers over it."""
    layout = Layout(path)
    usual = {"Cmd": ["/bin/sleep", "1000"], "Env": ["PATH=/bin", "GREETING=hello"]}
    layout.add([tar_of(busybox_files()), *extra], {**usual, **(config or {})})
    return layout


# trouble


@dataclass
class Trouble:
    """What goes wrong with requests whose path holds `match`: the next `times` of them (-1: all)."""

    match: str
    status: int = 0  # answered instead
    cut: int = 0  # the body ends after so many bytes, and the connection with it
    flip: bool = False  # one bit of the body is another
    hang: float = 0.0  # seconds of silence in the middle
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1


class Tunnel:
    """An HTTP proxy that only tunnels (CONNECT), every name to loopback. `seen`: what was asked for."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        seen = self.seen

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                _, target, _ = self.rfile.readline().decode().split(" ", 2)
                list(_headers(self.rfile))
                seen.append(target)
                with socket.create_connection(("127.0.0.1", int(target.rpartition(":")[2]))) as there:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    back = threading.Thread(target=_pour, args=(there, self.connection))
                    back.start()
                    _pour(self.connection, there)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


class Proxy:
    """Stands before a registry and lets things go wrong. `seen`: (method, path, headers) of each request."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.troubles: list[Trouble] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.tokens: dict[str, str] = {}  # path → the token it gives
        self.answers: dict[str, bytes] = {}  # path → what it holds instead
        self.bodies: dict[str, list[tuple[str, str]]] = {}  # path → (method, body) of each request for a token
        self._times: list[tuple[str, float]] = []
        self.released = threading.Event()  # ends a hang
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(ConnectionError, ValueError):
                    proxy._serve(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def requests(self, match: str) -> list[dict[str, str]]:
        """The headers of each request whose path holds `match`."""
        return [headers for _, path, headers in self.seen if match in path]

    def times(self, match: str) -> list[float]:
        """When each such request came, in seconds."""
        return [moment for path, moment in self._times if match in path]

    def _trouble(self, path: str) -> Trouble | None:
        for trouble in self.troubles:
            if trouble.match in path and trouble.times:
                trouble.times -= 1
                return trouble
        return None

    def _serve(self, handler: socketserver.StreamRequestHandler) -> None:
        line = handler.rfile.readline().decode()
        method, path, _ = line.split(" ", 2)
        headers = dict(_headers(handler.rfile))
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        self.seen.append((method, path, headers))
        self._times.append((path, time.monotonic()))
        trouble = self._trouble(path)
        if token := self.tokens.get(path.partition("?")[0]):
            self.bodies.setdefault(path.partition("?")[0], []).append((method, body.decode()))
            _answer(handler, json.dumps({"token": token}).encode())
            return
        if path in self.answers:
            _answer(handler, self.answers[path])
            return
        if trouble and trouble.status:
            extra = "".join(f"{name}: {value}\r\n" for name, value in trouble.headers.items())
            answer = f"HTTP/1.1 {trouble.status} Trouble\r\n{extra}Content-Length: 0\r\nConnection: close\r\n\r\n"
            handler.wfile.write(answer.encode())
            return
        host, _, port = self.upstream.partition(":")
        with socket.create_connection((host, int(port))) as there:
            kept = {name: value for name, value in headers.items() if name not in ("connection", "host")}
            kept |= {"host": self.host, "connection": "close"}
            lines = "".join(f"{name}: {value}\r\n" for name, value in kept.items())
            there.sendall(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
            answer_file = there.makefile("rb")
            handler.wfile.write(answer_file.readline())
            for name, value in [*_headers(answer_file), ("connection", "close")]:
                if name != "connection" or value == "close":
                    handler.wfile.write(f"{name}: {value}\r\n".encode())
            handler.wfile.write(b"\r\n")
            self._pass(answer_file, handler.wfile, trouble or Trouble(""))

    def _pass(self, source: Any, target: Any, trouble: Trouble) -> None:
        passed = 0
        while data := source.read1(1 << 14):
            if trouble.flip:
                data, trouble.flip = bytes([data[0] ^ 1]) + data[1:], False
            if trouble.cut and passed + len(data) > trouble.cut:
                target.write(data[: trouble.cut - passed])
                target.flush()
                return
            target.write(data)
            passed += len(data)
            if trouble.hang:
                target.flush()
                self.released.wait(trouble.hang)


def _answer(handler: socketserver.StreamRequestHandler, content: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    handler.wfile.write(head.encode() + content)


def _headers(file: Any) -> Iterator[tuple[str, str]]:
    while (line := file.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        yield name.lower(), value.strip()


@contextlib.contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    made = Proxy(upstream)
    try:
        yield made
    finally:
        made.close()
