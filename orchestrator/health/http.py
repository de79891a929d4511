"""A probe over HTTP/1.1 (RFC 9112): a GET whose status tells. Pure: bytes to send, and what the answer means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Http:
    """Asked of the container itself, on any of its addresses. Well is 200 … 399, as for the kubelet."""

    port: int
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)
    secure: bool = False  # https; its certificate is not checked

    def __str__(self) -> str:
        return f"http{'s' if self.secure else ''} GET :{self.port}{self.path}"


def request(probe: Http) -> bytes:
    headers = {"Host": f"localhost:{probe.port}", "User-Agent": "pyorch", "Connection": "close", **probe.headers}
    lines = [f"GET {probe.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def complete(answer: bytes) -> bool:
    """Enough was read to tell."""
    return b"\r\n" in answer


def verdict(answer: bytes) -> tuple[bool, str]:
    """(well, what is said of it)."""
    line = answer.partition(b"\r\n")[0].decode("latin-1")
    words = line.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        return False, f"no HTTP answer: {line[:80]!r}" if answer else "closed without an answer"
    return 200 <= int(words[1]) < 400, f"HTTP status {' '.join(words[1:])}"
