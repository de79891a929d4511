"""DNS messages, as far as we speak: one question, answers of A and PTR. Pure. RFC 1035 section 4, RFC 6891 (EDNS)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
BADVERS = 16
RESPONSE, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED, RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
OPCODE = 0x7800
LARGEST_DATAGRAM = 1232  # what passes every link unfragmented: dnsflagday.net/2020
TTL = 1  # seconds; containers come and go, and asking again costs microseconds

_HEADER = struct.Struct("!HHHHHH")
_POINTER_TO_QUESTION = b"\xc0\x0c"


class Malformed(ValueError):
    """No question can be read from it."""


class Query:
    """The one question of a message. (`typing` would be a tenth of this process: hence no NamedTuple here.)"""

    __slots__ = ("datagram", "flags", "identity", "kind", "klass", "name", "question", "version")

    def __init__(
        self, identity: int, flags: int, name: str, kind: int, klass: int, question: bytes, edns: tuple[int | None, int]
    ) -> None:
        self.identity, self.flags = identity, flags
        self.name = name  # lower case, without the last dot
        self.kind, self.klass = kind, klass
        self.question = question  # as it was written, in its own mixture of cases
        # EDNS: how large an answer may be, None where the asker does not speak it; and its version.
        self.datagram, self.version = edns


Record = tuple[int, bytes]  # kind, data


def parse(message: bytes) -> Query:
    """The question of a query. Raises Malformed; also for what is not a query with exactly one question."""
    try:
        identity, flags, questions, answers, authorities, additional = _HEADER.unpack_from(message)
        if questions != 1 or answers or authorities:
            raise Malformed("not one question")
        labels, end = _labels(message, 12)
        kind, klass = struct.unpack_from("!HH", message, end)
        edns = _edns(message, end + 4, additional)
    except (struct.error, IndexError) as error:
        raise Malformed("cut short") from error
    name = b".".join(labels).lower().decode("latin-1")
    return Query(identity, flags, name, kind, klass, message[12 : end + 4], edns)


def _labels(message: bytes, at: int) -> tuple[list[bytes], int]:
    """The labels of a name and where it ends. A question has nothing before it that a pointer could point to."""
    labels, start = [], at
    while length := message[at]:
        if length > 63 or at - start + length > 254:
            raise Malformed("not a name")
        label = message[at + 1 : at + 1 + length]
        if len(label) < length:
            raise Malformed("cut short")
        labels.append(label)
        at += 1 + length
    return labels, at + 1


def _edns(message: bytes, at: int, records: int) -> tuple[int | None, int]:
    for _ in range(min(records, 8)):
        _owner, at = _labels(message, at)
        kind, size, extended, length = struct.unpack_from("!HHIH", message, at)
        if kind == OPT:
            return max(size, 512), extended >> 16 & 0xFF
        at += 10 + length
    return None, 0


def reply(query: Query, code: int, records: Sequence[Record] = (), *, stream: bool = False) -> bytes:
    """The whole answer to a query. What does not fit is left out, and the asker told to come again by TCP."""
    option = _option(code) if query.datagram is not None else b""
    room = 65535 if stream else min(query.datagram or 512, LARGEST_DATAGRAM)
    room -= 12 + len(query.question) + len(option)
    body, count = b"", 0
    for kind, data in records:
        packed = _POINTER_TO_QUESTION + struct.pack("!HHIH", kind, IN, TTL, len(data)) + data
        if len(body) + len(packed) > room:
            break
        body, count = body + packed, count + 1
    flags = RESPONSE | RECURSION_AVAILABLE | query.flags & (OPCODE | RECURSION_DESIRED) | code & 0xF
    if code in (NOERROR, NXDOMAIN):
        flags |= AUTHORITATIVE
    if count < len(records):
        flags |= TRUNCATED
    header = _HEADER.pack(query.identity, flags, 1, count, 0, 1 if option else 0)
    return header + query.question + body + option


def _option(code: int) -> bytes:
    return b"\0" + struct.pack("!HHIH", OPT, LARGEST_DATAGRAM, code >> 4 << 24, 0)


def complaint(message: bytes, code: int) -> bytes:
    """An answer of nothing but a header, to what could not be read."""
    identity, flags = struct.unpack_from("!HH", message)
    flags = RESPONSE | RECURSION_AVAILABLE | flags & (OPCODE | RECURSION_DESIRED) | code
    return _HEADER.pack(identity, flags, 0, 0, 0, 0)


def written(name: str) -> bytes:
    """A name as it travels, uncompressed. Labels longer than 63 bytes cannot be."""
    labels = [label.encode("latin-1", "replace")[:63] for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
