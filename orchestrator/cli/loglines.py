"""Log frames of the agent → bytes for our stdout and stderr.

Work is done on whole frames, which hold many lines each: a prefix is one bytes.replace, a harmless terminal one regular
expression. A loop over lines would cost a second per million of them.
"""

from __future__ import annotations

import os
import time
from struct import Struct

from orchestrator.cli.printing import RESET, coloured, write_all

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.cli.option import Given

HEADER = Struct(">BHQI")  # stream (0 control, 1 stdout, 2 stderr), container index, wall clock ns, length
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)  # docker compose's order: cyan, yellow, green, magenta, blue, bright


class Frames:
    """Cuts the stream into frames, fed in pieces cut anywhere."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """(stream, container index, ns, payload) of each frame that is complete."""
        data = self.rest + data if self.rest else data
        at, size, unpack, head = 0, len(data), HEADER.unpack_from, HEADER.size
        while at + head <= size:
            stream, index, moment, length = unpack(data, at)
            end = at + head + length
            if end > size:
                break
            yield stream, index, moment, data[at + head : end]
            at = end
        self.rest = data[at:]


class LogPrinter:
    """Writes frames as docker compose does: `db-1  | text`, lines of stdout to our stdout, of stderr to our stderr."""

    def __init__(self, given: Given, stack: str, *, timestamps: bool = False) -> None:
        self.stack = stack
        self.prefixed = not given.no_log_prefix
        self.timestamps = timestamps
        self.colours = {fd: coloured(given, fd) for fd in (1, 2)}
        self.harmless = {fd: _escaper() if os.isatty(fd) else None for fd in (1, 2)}
        self.names: Sequence[str] = ()
        self.latest: dict[int, int] = {}  # container index → ns of its last frame
        self._known: dict[str, int] = {}  # container → ns up to which an earlier stream has told it
        self._seen: dict[int, int] = {}  # the same by the index of the present stream
        self._frames = Frames()
        self._second, self._date = -1, ""
        self._prefixes: dict[int, list[bytes]] = {}
        self._unfinished: int | None = None  # the container whose last line has no end yet
        self._fd, self._out = 1, list[bytes]()

    def feed(self, data: bytes) -> None:
        """Writes every frame that is complete now; neighbours of one container and stream are written as one."""
        source, joined = (0, 0), list[bytes]()
        for stream, index, moment, payload in self._frames.feed(data):
            if joined and ((stream, index) != source or self.timestamps):
                self._write(*source, b"".join(joined))
                joined = []
            if stream == 0:
                self._control(payload)
            elif payload and moment > self._seen.get(index, -1):
                source = stream, index
                joined.append(payload)
                self.latest[index] = moment
        if joined:
            self._write(*source, b"".join(joined))
        self.flush()

    def again(self) -> None:
        """A new stream of the same containers begins: what was written already is passed over, by its time."""
        self._frames = Frames()
        self._known = {self.names[index]: moment for index, moment in self.latest.items()}

    def flush(self) -> None:
        if self._out:
            data, self._out = b"".join(self._out), []
            write_all(self._fd, data)

    def _control(self, payload: bytes) -> None:
        import json

        self.names = json.loads(payload).get("containers", self.names)
        self._seen = {at: self._known[name] for at, name in enumerate(self.names) if name in self._known}
        shown = [name.removeprefix(f"{self.stack}-") for name in self.names]
        width = max(map(len, shown), default=0) + 1
        plain = [f"{name.ljust(width)} | ".encode() for name in shown]
        bright = [b"\x1b[%dm%s%s" % (COLOURS[at % len(COLOURS)], text, RESET) for at, text in enumerate(plain)]
        self._prefixes = {fd: bright if self.colours[fd] else plain for fd in (1, 2)}

    def _write(self, stream: int, index: int, payload: bytes) -> None:
        if stream != self._fd:
            self.flush()
            self._fd = stream
        escape = self.harmless[stream]
        if escape is not None:
            payload = escape(payload)
        if self._unfinished is not None and self._unfinished != index:
            self._out.append(b"\n")
        lead = self._prefixes[stream][index] if self.prefixed else b""
        if self.timestamps:
            lead += self._stamp(self.latest[index])
        if lead:
            ended = payload.endswith(b"\n")
            body = (payload[:-1] if ended else payload).replace(b"\n", b"\n" + lead)
            self._out += (b"" if self._unfinished == index else lead, body, b"\n" if ended else b"")
        else:
            self._out.append(payload)
        self._unfinished = None if payload.endswith(b"\n") else index

    def _stamp(self, moment: int) -> bytes:
        """RFC 3339 with nanoseconds, UTC, and a space: docker's -t."""
        second, rest = divmod(moment, 1_000_000_000)
        if second != self._second:
            self._second, self._date = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return b"%s.%09dZ " % (self._date.encode(), rest)


def _escaper() -> Callable[[bytes], bytes]:
    """Every control character but tab, newline and colours (SGR) becomes its code: a log line must not steer the
    terminal. C1 controls count too, as UTF-8 writes them: xterm obeys U+009B as it does ESC [."""
    import re

    dangerous = re.compile(rb"\x1b(?!\[[0-9;:]*m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]|\r(?!\n)|\xc2[\x80-\x9f]")

    def code(match: re.Match[bytes]) -> bytes:
        return b"".join(b"\\x%02x" % byte for byte in match.group())

    def escape(data: bytes) -> bytes:
        data = dangerous.sub(code, data)
        return data.replace(b"\n", RESET + b"\n") if b"\x1b" in data else data

    return escape
