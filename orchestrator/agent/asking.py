"""Asking one probe once: over the container's network, in its files or in its log. Commands are the launcher's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.agent import clock
from orchestrator.agent.containers import Record
from orchestrator.health import file as files
from orchestrator.health import grpc, http
from orchestrator.health import log as logs
from orchestrator.health.check import Result
from orchestrator.health.file import File
from orchestrator.health.grpc import Grpc
from orchestrator.health.http import Http
from orchestrator.health.log import Log
from orchestrator.health.tcp import Tcp
from orchestrator.kernel import inside
from orchestrator.root import Root
from orchestrator.runtime import logreader

if TYPE_CHECKING:
    import ssl

MOST = 64 << 10  # bytes of an answer
LINES_AT_ONCE = 4 << 20  # bytes of a log


class Readers:
    """How far each container's log was read for its log probe, and whether its line was seen."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._followers: dict[str, tuple[logreader.Follower, float]] = {}  # container id → and the run's start
        self._seen: set[tuple[str, str, float]] = set()

    def seen(self, record: Record, probe: Log) -> bool:
        """Whether its present run has written such a line."""
        started = record.started or 0.0
        mark = (record.id, probe.pattern, started)
        if mark in self._seen:
            return True
        follower, of = self._followers.get(record.id, (None, 0.0))
        if follower is None or of != started:
            since = clock.wall_ns() - int((clock.now() - started) * 1e9)
            follower = logreader.Follower(f"{self._root.container(record.id)}/log", since_ns=since)
            self._followers[record.id] = follower, started
        lines = (line for _, _, line in logreader.lines(follower.poll(LINES_AT_ONCE)))
        if any(logs.found(probe, line) for line in lines):
            self._seen.add(mark)
            self._followers.pop(record.id, None)
            return True
        return False

    def forget(self, id: str) -> None:
        self._followers.pop(id, None)
        self._seen = {mark for mark in self._seen if mark[0] != id}


async def ask(probe: Http | Tcp | Grpc | File | Log, record: Record, readers: Readers, timeout: float) -> Result:
    """Code 0 is well; None: no answer in time, or it could not be asked."""
    try:
        async with asyncio.timeout(timeout):
            well, said = await _answer(probe, record, readers)
    except TimeoutError:
        return Result(clock.now(), None, f"{probe}: no answer within {timeout:g} s")
    except (OSError, ValueError) as error:
        return Result(clock.now(), 1, f"{probe}: {getattr(error, 'strerror', None) or error}")
    return Result(clock.now(), 0 if well else 1, f"{probe}: {said}")


async def _answer(probe: Http | Tcp | Grpc | File | Log, record: Record, readers: Readers) -> tuple[bool, str]:
    match probe:
        case File():
            return files.verdict(probe, inside.exists(record.pid or 0, probe.path))
        case Log():
            well = readers.seen(record, probe)
            return well, "its line was written" if well else "no such line yet"
        case Tcp():
            await _talk(record, probe.port, b"", lambda _: True)
            return True, "accepts connections"
        case Http():
            said = http.request(probe)
            return http.verdict(await _talk(record, probe.port, said, http.complete, secure=probe.secure))
        case Grpc():
            return grpc.verdict(await _talk(record, probe.port, grpc.request(probe), grpc.complete))


async def _talk(
    record: Record, port: int, said: bytes, enough: Callable[[bytes], bool], *, secure: bool = False
) -> bytes:
    """What comes back from a port of the container, on its loopback or, where nobody listens there, on its address."""
    with await _connected(record, port) as talk:
        reader, writer = await asyncio.open_connection(
            sock=talk, ssl=_trusting() if secure else None, server_hostname="localhost" if secure else None
        )
        try:
            writer.write(said)
            answer = b""
            while not enough(answer) and len(answer) < MOST:
                piece = await reader.read(4096)
                if not piece:
                    break
                answer += piece
            return answer
        finally:
            writer.close()


async def _connected(record: Record, port: int) -> socket.socket:
    refusal: OSError | None = None
    for address in ("127.0.0.1", *record.addresses.values()):
        talk = inside.stream_socket(record.pid or 0)
        try:
            await asyncio.get_running_loop().sock_connect(talk, (address, port))
        except ConnectionRefusedError as error:
            talk.close()
            refusal = refusal or error
        except BaseException:
            talk.close()
            raise
        else:
            return talk
    raise refusal or ConnectionRefusedError(f"no address to reach port {port} by")


def _trusting() -> ssl.SSLContext:
    """Whoever answers in there is the container: its certificate proves nothing more."""
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
