"""What a container prints on its way to its log: two FIFOs in the bundle, taken from when they have something."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping

from orchestrator.launcher.clients import Refused
from orchestrator.launcher.loop import IN, Loop, Timer
from orchestrator.runtime.log import PIPE_BYTES, SEGMENT_BYTES, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PIPES = {1: "stdout", 2: "stderr"}
REST = 0.004  # seconds that a busy stream is left alone at most, so that the next bite is larger
LEAST_REST = 0.001  # who would fill a quarter of a wide pipe sooner is not left alone: it would stand still
MOVED_IN_A_REST = 16 << 10  # more than this in so short a time would fill a usual pipe during a rest


class Output:
    """The two streams of one container: the FIFOs in its bundle and where what they bring is kept."""

    __slots__ = ("_last", "_loop", "_resting", "_streams", "container_ends")

    def __init__(self, loop: Loop, bundle: str, spec: Mapping[str, Any], default_directory: str) -> None:
        notes = spec.get("annotations") or {}
        directory = notes.get("org.pyorch.log") or default_directory
        self._loop = loop
        self._streams: list[Stream] = []
        self._resting: dict[int, Timer] = {}
        self._last: dict[int, float] = {}
        self.container_ends: list[int] = []
        if notes.get("org.pyorch.log.kept") == "false":
            nowhere = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
            self.container_ends += [nowhere, os.dup(nowhere)]
            return
        try:
            for number, name in PIPES.items():
                path = os.path.join(bundle, name)
                with contextlib.suppress(FileExistsError):
                    os.mkfifo(path, 0o600)
                # Read and write on both sides: the container never sees a pipe without reader (EPIPE) while no
                # launcher is there, and the launcher never one without writer.
                fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                stream = Stream(directory, number, fifo, complain, **_bounds(notes))
                self._streams.append(stream)
                self.container_ends.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
                self._listen(stream)
        except Exception:
            self.close_container_ends()
            self.close()
            raise

    def close_container_ends(self) -> None:
        while self.container_ends:
            os.close(self.container_ends.pop())

    def _take(self, stream: Stream) -> None:
        moved, now = stream.drain(time.time_ns()), time.monotonic()
        since = now - self._last.get(stream.fifo, 0.0)
        self._last[stream.fifo] = now
        rest = min(REST, since * PIPE_BYTES / 4 / moved) if moved and since < 2 * REST else 0.0
        if rest and moved >= MOVED_IN_A_REST and not stream.widen():
            rest = 0.0
        if rest >= LEAST_REST:
            if stream.fifo not in self._resting:
                self._loop.forget(stream.fifo)  # who is registered, for nothing even, costs every write(2) a call
            self._resting[stream.fifo] = self._loop.at(now + rest, lambda: self._take(stream))
        elif self._resting.pop(stream.fifo, None):
            self._listen(stream)

    def _listen(self, stream: Stream) -> None:
        self._loop.watch(stream.fifo, IN, lambda _: self._take(stream))

    def drain(self) -> None:
        """What has come so far, into the log."""
        for stream in self._streams:
            while stream.drain(time.time_ns()):
                pass

    def close(self) -> None:
        """To the last byte: called when nobody is left who could write."""
        for stream in self._streams:
            if timer := self._resting.pop(stream.fifo, None):
                timer.cancel()
            else:
                self._loop.forget(stream.fifo)
            stream.close(time.time_ns())
        self._streams.clear()


def _bounds(notes: Mapping[str, str]) -> dict[str, int]:
    """Docker's words (so many files of this size) for our two streams, which share what they allow together."""
    if "org.pyorch.log.max_size" not in notes:
        return {}
    size, files = _number(notes, "org.pyorch.log.max_size", 0), _number(notes, "org.pyorch.log.max_files", 1)
    # Two streams are written at a time, and a segment may outgrow its size by a quarter.
    return {"segment_bytes": min(SEGMENT_BYTES, size * 2 // 5), "whole": size * files}


def _number(notes: Mapping[str, str], key: str, default: int) -> int:
    try:
        return int(notes.get(key, default))
    except ValueError:
        raise Refused(f"cannot use annotation {key}={notes[key]!r}: not a number") from None


def complain(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
