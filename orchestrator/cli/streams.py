"""The conversation of `exec` after the upgrade: our stdin to the container, its stdout and stderr to ours.

Frames are a type byte, a length (u32, big endian) and bytes. We send 0 stdin, 5 end of stdin, 4 resize; we receive
1 stdout, 2 stderr, 3 exit.
"""

from __future__ import annotations

import _socket
import os
import select
from struct import Struct

from orchestrator.cli.printing import write_all

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEADER = Struct(">BI")
STDIN, STDOUT, STDERR, EXIT, RESIZE, STDIN_END, SIGNAL = range(7)
LEFT = 0  # the exit code of who leaves a container that goes on
CHUNK = 1 << 16


def frame(kind: int, data: bytes = b"") -> bytes:
    return HEADER.pack(kind, len(data)) + data


def converse(
    connection: _socket.socket, said: bytes, *, wake: int | None = None, woken: Callable[[], bytes] | None = None,
    stdin: bool = True, leave: bytes = b"",
) -> int:  # fmt: skip
    """Until the command ends; returns its exit code.

    What we could not send yet is kept, and stdin not read meanwhile: neither side may wait for the other to read.
    `wake`: a descriptor that becomes readable when `woken` has a frame to send (a resize, a signal). `leave`: keys that
    end the conversation and nothing else.
    """
    code, rest = _hear(said)
    unsent, stdin_open, typed = b"", stdin, b""
    connection.setblocking(False)
    while code is None:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN | (select.POLLOUT if unsent else 0))
        if stdin_open and not unsent:
            poll.register(0, select.POLLIN)
        if wake is not None:
            poll.register(wake, select.POLLIN)
        ready = dict(poll.poll())
        if wake in ready and woken is not None:
            unsent += woken()
        if 0 in ready:
            data = os.read(0, CHUNK)
            stdin_open = bool(data)
            typed = (typed + data)[-len(leave) :] if leave else b""
            if leave and typed == leave:
                return LEFT
            unsent += frame(STDIN, data) if data else frame(STDIN_END)
        if unsent:
            unsent = unsent[_send(connection, unsent) :]
        if ready.get(connection.fileno(), 0) & ~select.POLLOUT:
            code, rest = _hear(rest + _receive(connection))
    return code


def _hear(data: bytes) -> tuple[int | None, bytes]:
    """Writes the frames that are complete; returns the exit code once it was said, and what is left."""
    at = 0
    for kind, start, end in _frames(data):
        if kind == EXIT:
            import json

            return _exit_code(json.loads(data[start:end])), b""
        write_all(STDERR if kind == STDERR else STDOUT, data[start:end])
        at = end
    return None, data[at:]


def _frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    at = 0
    while at + HEADER.size <= len(data):
        kind, length = HEADER.unpack_from(data, at)
        start = at + HEADER.size
        if start + length > len(data):
            return
        yield kind, start, start + length
        at = start + length


def _exit_code(said: dict[str, int | str | None]) -> int:
    """A death by signal is 128 + its number, as in every shell; an end nobody could read is 255."""
    if said.get("error"):
        from orchestrator.errors import OrchestratorError

        raise OrchestratorError(str(said["error"]))
    if said.get("signal"):
        return 128 + int(said["signal"] or 0)
    return 255 if said.get("code") is None else int(said["code"] or 0)


def _send(connection: _socket.socket, data: bytes) -> int:
    try:
        return connection.send(data)
    except BlockingIOError:
        return 0
    except (BrokenPipeError, ConnectionResetError):  # it has ended and does not listen any more; its exit code comes
        return len(data)


def _receive(connection: _socket.socket) -> bytes:
    try:
        data = connection.recv(CHUNK * 4)
    except BlockingIOError:
        return b""
    except ConnectionResetError:
        data = b""
    if not data:
        from orchestrator.errors import Unreachable

        raise Unreachable("cannot say how the command ended: the agent went away while it ran")
    return data
