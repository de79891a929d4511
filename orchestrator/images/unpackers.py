"""Processes that unpack layers: one a processor, for Python's lock lets only one thread of a process look at headers.

Forked while the process is still small and has one thread. Each ends with its parent (PR_SET_PDEATHSIG): what it was at
stays in ingest/, where nothing refers to it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
from dataclasses import asdict
from typing import Any

from orchestrator.errors import HostRefused
from orchestrator.images import stream
from orchestrator.images.complete import complete
from orchestrator.images.unpack import Limits, Refused, Unpacked, unpack
from orchestrator.kernel import syscalls

_PR_SET_PDEATHSIG = 1


class Unpackers:
    """`unpack` may be called by many threads; as many run at a time as there are processes."""

    def __init__(self, count: int) -> None:
        self._idle: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._ends: list[socket.socket] = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            if os.fork() == 0:
                try:
                    for end in (*self._ends, ours):
                        end.close()
                    syscalls.call("end with the parent", "prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                    _serve(theirs)
                finally:
                    os._exit(0)
            theirs.close()
            self._ends.append(ours)
            self._idle.put(ours)

    def unpack(self, blob: str, directory: str, digest: str, diff_id: str, limits: Limits) -> dict[str, Any]:
        """{"size", "entries", "data", "implied", "foreign"} of the layer, now in `directory`.

        Raises ValueError with the reason where the blob is not what it should be, HostRefused where the host said no.
        """
        task = {"blob": blob, "directory": directory, "digest": digest, "diff_id": diff_id, "limits": asdict(limits)}
        return self._do({"deed": "unpack", **task})

    def complete(self, directory: str, unpacked: dict[str, Any], below: list[str]) -> None:
        """See complete.py. Raises as `unpack`."""
        self._do({"deed": "complete", "directory": directory, "unpacked": unpacked, "below": below})

    def close(self) -> None:
        for end in self._ends:
            end.close()
        for _ in self._ends:
            os.wait()

    def _do(self, task: dict[str, Any]) -> dict[str, Any]:
        end = self._idle.get()
        end.sendall(json.dumps(task).encode() + b"\n")
        answer = _line(end)
        if answer is None:  # it stays away from now on
            raise HostRefused("cannot unpack: the process that did it was killed (by the kernel, for its memory?)")
        self._idle.put(end)
        if "refused" in answer:
            raise ValueError(answer["refused"])
        if "host" in answer:
            raise HostRefused(answer["host"])
        return answer


def _serve(end: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while (task := _line(end)) is not None:
        try:
            answer = _unpack(task) if task["deed"] == "unpack" else _complete(task)
        except OSError as error:
            full = error.errno in (28, 122)  # ENOSPC, EDQUOT
            answer = {"host": "there is no room left on the disk" if full else f"cannot unpack: {error}"}
        except ValueError as error:  # Malformed, Refused, a damaged stream
            answer = {"refused": str(error)}
        end.sendall(json.dumps(answer).encode() + b"\n")


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


def _line(end: socket.socket) -> dict[str, Any] | None:
    """One JSON line; None once the other side is gone."""
    data = bytearray()
    while not data.endswith(b"\n"):
        try:
            piece = end.recv(1 << 16)
        except ConnectionError:
            return None
        if not piece:
            return None
        data += piece
    found: dict[str, Any] = json.loads(data)
    return found
