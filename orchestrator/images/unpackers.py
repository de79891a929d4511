"""Processes that unpack layers: one a processor, for Python's lock lets only one thread of a process look at headers.

Forked while the process is still small and has one thread. Each ends with its parent (PR_SET_PDEATHSIG): what it was at
stays in ingest/, where nothing refers to it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import queue
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeAlias

from orchestrator.errors import HostRefused
from orchestrator.images import stream
from orchestrator.images.complete import complete
from orchestrator.images.unpack import Limits, Refused, Unpacked, unpack
from orchestrator.kernel import syscalls

_PR_SET_PDEATHSIG = 1

Deeds: TypeAlias = "dict[str, Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], dict[str, Any]]]"


class Unpackers:
    """`unpack` may be called by many threads; as many run at a time as there are processes."""

    def __init__(self, count: int, deeds: Deeds | None = None) -> None:
        known: Deeds = {"unpack": lambda task, say: _unpack(task), "complete": lambda task, say: _complete(task)}
        known |= deeds or {}
        self._idle: queue.SimpleQueue[_End | None] = queue.SimpleQueue()  # None: there will be none any more
        self._ends: list[_End] = []
        self._killed = itertools.count(1)
        for _ in range(count):
            ours, theirs = socket.socketpair()
            if os.fork() == 0:
                try:
                    for end in self._ends:
                        end.close()
                    ours.close()
                    syscalls.call("end with the parent", "prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                    _serve(_End(theirs), known)
                finally:
                    os._exit(0)
            theirs.close()
            self._ends.append(_End(ours))
            self._idle.put(self._ends[-1])

    def unpack(self, blob: str, directory: str, digest: str, diff_id: str, limits: Limits) -> dict[str, Any]:
        """{"size", "entries", "data", "implied", "foreign"} of the layer, now in `directory`.

        Raises ValueError with the reason where the blob is not what it should be, HostRefused where the host said no.
        """
        task = {"blob": blob, "directory": directory, "digest": digest, "diff_id": diff_id, "limits": asdict(limits)}
        return self.do({"deed": "unpack", **task})

    def complete(self, directory: str, unpacked: dict[str, Any], below: list[str]) -> None:
        """See complete.py. Raises as `unpack`."""
        self.do({"deed": "complete", "directory": directory, "unpacked": unpacked, "below": below})

    def close(self) -> None:
        for end in self._ends:
            end.close()
        for _ in self._ends:
            os.wait()

    def do(self, task: dict[str, Any], hear: Callable[[str], None] | None = None) -> dict[str, Any]:
        """The answer of the deed `task` names; `hear` is told each line it says meanwhile. Raises as `unpack`."""
        end = self._idle.get()
        if end is None:
            self._idle.put(None)
            raise HostRefused(f"all processes that could {task['deed']} were killed (by the kernel, for their memory?)")
        with contextlib.suppress(ConnectionError):  # it was killed while it was idle: its end is read below
            end.say(task)
        while (answer := _line(end)) is not None and "line" in answer:
            if hear is not None:
                hear(answer["line"])
        if answer is None:  # it stays away from now on
            if next(self._killed) == len(self._ends):
                self._idle.put(None)
            raise HostRefused(f"the process that was to {task['deed']} was killed (by the kernel, for its memory?)")
        self._idle.put(end)
        if "refused" in answer:
            raise ValueError(answer["refused"])
        if "host" in answer:
            raise HostRefused(answer["host"])
        return answer


def _serve(end: _End, deeds: Deeds) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while (task := _line(end)) is not None:
        try:
            answer = deeds[task["deed"]](task, end.say)
        except HostRefused as error:
            answer = {"host": str(error)}
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            answer = {"host": "there is no room left on the disk" if full else f"cannot {task['deed']}: {error}"}
        except ValueError as error:  # Malformed, Refused, a damaged stream; what the asker can mend
            answer = {"refused": str(error)}
        end.say(answer)


def _unpack(task: dict[str, Any]) -> dict[str, Any]:
    with open(task["blob"], "rb", buffering=0) as file:
        packed = os.fstat(file.fileno()).st_size
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        compressed = stream.Digested(file.read, task["digest"].partition(":")[0])
        plain = stream.Digested(stream.Plain(compressed.read).read, task["diff_id"].partition(":")[0])
        try:
            unpacked = unpack(plain.read, task["directory"], Limits(**task["limits"]), packed)
        except ValueError as error:
            while compressed.read(1 << 20):
                pass
            if compressed.digest != task["digest"]:
                raise ValueError(f"damaged: its content has the digest {compressed.digest}") from error
            raise
        while compressed.read(1 << 20):
            pass
    if compressed.digest != task["digest"]:
        raise ValueError(f"damaged: its content has the digest {compressed.digest}")
    if plain.digest != task["diff_id"]:
        raise Refused(f"it unpacks to {plain.digest}, but the image's configuration says {task['diff_id']}")
    return {**asdict(unpacked), "data": unpacked.size, "size": used(task["directory"])}


def used(directory: str) -> int:
    """Bytes that a tree takes on the disk; a file of several names counts once."""
    found = {
        known.st_ino: known.st_blocks
        for where, directories, files in os.walk(directory)
        for name in (*directories, *files)
        if (known := os.lstat(os.path.join(where, name)))
    }
    return (sum(found.values()) + os.lstat(directory).st_blocks) * 512


def _complete(task: dict[str, Any]) -> dict[str, Any]:
    known = task["unpacked"]
    foreign = [(path, target) for path, target in known["foreign"]]
    complete(task["directory"], Unpacked(implied=known["implied"], foreign=foreign), task["below"])
    return {}


def _line(end: _End) -> dict[str, Any] | None:
    """One JSON line; None once the other side is gone."""
    try:
        line = end.file.readline()
    except ConnectionError:
        return None
    if not line.endswith(b"\n"):
        return None
    found: dict[str, Any] = json.loads(line)
    return found


class _End:
    """One end of a pair of sockets, with a buffer for what came together."""

    def __init__(self, held: socket.socket) -> None:
        self.socket = held
        self.file = held.makefile("rb")

    def say(self, message: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        self.file.close()
        self.socket.close()
