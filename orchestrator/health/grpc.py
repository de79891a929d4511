"""A probe by the gRPC health checking protocol (grpc/grpc doc/health-checking.md): SERVING is well.

One unary call of /grpc.health.v1.Health/Check over HTTP/2 without TLS (RFC 9113), its few frames written by hand. Of
the answer only the DATA frame is read: the state is in the message, and an error has none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACK, _PADDED = 0x1, 0x4, 0x1, 0x8
_STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


@dataclass(frozen=True, slots=True)
class Grpc:
    """`service` "": the server as a whole."""

    port: int
    service: str = ""

    def __str__(self) -> str:
        return f"grpc :{self.port}" + (f" {self.service}" if self.service else "")


def request(probe: Grpc) -> bytes:
    """Preface, settings, the call's headers and its message."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": f"localhost:{probe.port}",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    name = probe.service.encode()
    message = b"\x0a" + bytes([len(name)]) + name if name else b""  # field 1, length-delimited
    body = b"\0" + struct.pack(">I", len(message)) + message
    # RFC 7541, 6.2.2: a literal field without indexing, its name written out too, begins with a zero octet.
    packed = b"".join(b"\0" + _literal(key) + _literal(value) for key, value in headers.items())
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_SETTINGS, _ACK, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, 1, packed)
        + _frame(_DATA, _END_STREAM, 1, body)
    )


def _literal(text: str) -> bytes:
    """A string without Huffman coding (RFC 7541, 5.2); none of ours needs a second octet for its length."""
    return bytes([len(text)]) + text.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def complete(answer: bytes) -> bool:
    """The call has ended, one way or the other."""
    return any(
        kind in (_RST, _GOAWAY) or (stream == 1 and kind in (_DATA, _HEADERS) and flags & _END_STREAM)
        for kind, flags, stream, _ in _frames(answer)
    )


def verdict(answer: bytes) -> tuple[bool, str]:
    """(well, what is said of it)."""
    for kind, flags, stream, payload in _frames(answer):
        if kind == _DATA and stream == 1:
            body = payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
            state = _state(body[5:])
            return state == 1, f"grpc health {_STATES.get(state, state)}"
    return False, "no gRPC health answer" if answer else "closed without an answer"


def _frames(answer: bytes) -> list[tuple[int, int, int, bytes]]:
    found, at = [], 0
    while at + 9 <= len(answer):
        length = int.from_bytes(answer[at : at + 3], "big")
        if at + 9 + length > len(answer):
            break
        (stream,) = struct.unpack(">I", answer[at + 5 : at + 9])
        found.append((answer[at + 3], answer[at + 4], stream & 0x7FFFFFFF, answer[at + 9 : at + 9 + length]))
        at += 9 + length
    return found


def _state(message: bytes) -> int:
    """Field 1 of HealthCheckResponse, a varint; proto3 leaves out a zero."""
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0
