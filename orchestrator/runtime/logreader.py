"""Reading a container's log: what was printed, in order, as large pieces of bytes. `log` describes the files.

Everything moves in bulk: a `Chunk` is all the whole lines that arrived at one moment. Only the borders (`tail`,
`since`) look at single lines. Nothing stays open between two calls, so a reader hinders no rotation.
"""

from __future__ import annotations

import heapq
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from orchestrator.runtime import log

LONGEST_LINE = 256 << 10  # a longer one is handed out in pieces: nobody's memory grows with a line without end
WINDOW = 256 << 10  # read at once where records are small
RECORDS_AT_ONCE = 4096


class Chunk(NamedTuple):
    """Whole lines of one stream (1 stdout, 2 stderr) that were complete at `time_ns` (wall clock).

    Without a newline at its end: the middle of an over-long line, or the last words of a container.
    """

    time_ns: int
    stream: int
    data: bytes


def read(
    directory: str, *, since_ns: int | None = None, until_ns: int | None = None, tail: int | None = None
) -> Iterator[Chunk]:
    """The log so far, oldest first, both streams merged by time. `tail`: at most so many lines at its end.

    An empty or missing directory is an empty log. OSError where the files cannot be read.
    """
    follower = Follower(directory, since_ns=since_ns, tail=tail)
    chunks = follower.rest()
    return chunks if until_ns is None else (chunk for chunk in chunks if chunk.time_ns <= until_ns)


def lines(chunks: Iterable[Chunk]) -> Iterator[tuple[int, int, bytes]]:
    """Single lines with their newline, as (time_ns, stream, line), for those who need them one by one."""
    for time_ns, stream, data in chunks:
        for line in data.splitlines(keepends=True) if b"\r" not in data else _split(data):
            yield time_ns, stream, line


def _split(data: bytes) -> list[bytes]:
    """splitlines() also breaks at carriage returns, which a progress bar prints inside its line."""
    pieces = data.split(b"\n")
    return [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


class Follower:
    """A place in a log that moves on: `poll()` gives what is new since the last call, first of all the past.

    The caller learns by inotify on the directory (or by a clock) when to look again.
    """

    def __init__(self, directory: str, *, since_ns: int | None = None, tail: int | None = None) -> None:
        self._cursors = [_Cursor(directory, stream) for stream in log.NAMES]
        self._first: list[Chunk] = []
        for cursor in self._cursors:
            cursor.go_to(since_ns, tail)
        if tail is not None:
            self._first = _last_lines([chunk for cursor in self._cursors for chunk in cursor.rest()], tail)

    def poll(self, most: int = 4 << 20) -> list[Chunk]:
        """What is new, about `most` bytes at a time: call again until it is empty. Partial lines wait for their end."""
        first, self._first = self._first, []
        new = [chunk for cursor in self._cursors for chunk in cursor.take(most)]
        new.sort(key=attrgetter("time_ns"))
        return first + new

    def finish(self) -> list[Chunk]:
        """What has no newline and will get none: the container has ended."""
        return [chunk for cursor in self._cursors for chunk in cursor.flush()]

    def rest(self) -> Iterator[Chunk]:
        """Everything from here to the present end, a last line without newline included."""
        yield from self._first
        self._first = []
        yield from heapq.merge(*(cursor.rest() for cursor in self._cursors), key=attrgetter("time_ns"))


class _Cursor:
    """A place in one stream. `_record`: number of the next index record; `_offset`: where its bytes begin."""

    def __init__(self, directory: str, stream: int) -> None:
        self._directory, self._stream = directory, stream
        self._segment = (log.segments(directory, stream) or [0])[0]
        self._record = self._offset = 0
        self._carry = b""  # the beginning of a line whose end has not come yet
        self._time = 0

    def rest(self) -> Iterator[Chunk]:
        while chunks := self.take(WINDOW):
            yield from chunks
        yield from self.flush()

    def flush(self) -> list[Chunk]:
        carry, self._carry = self._carry, b""
        return [Chunk(self._time, self._stream, carry)] if carry else []

    def take(self, most: int) -> list[Chunk]:
        chunks: list[Chunk] = []
        while most > 0 or not chunks:  # empty means: nothing is there, never: a long line has no end yet
            # Asked before the index is read: a segment's index is complete before its successor is there.
            successor = os.path.exists(log.index_path(self._directory, self._stream, self._segment + 1))
            index = self._read_index(self._segment, self._record, RECORDS_AT_ONCE)
            if index:
                most -= self._take_records(index, most, chunks)
            elif successor:
                self._segment, self._record, self._offset = self._segment + 1, 0, 0
            elif not self._skip_what_was_trimmed():
                break
        return chunks

    def _take_records(self, index: array[int], most: int, chunks: list[Chunk]) -> int:
        """The bytes of the records in `index`, cut into chunks of whole lines; stops after `most` bytes."""
        taken, stream, offset, carry = 0, self._stream, self._offset, self._carry
        window, base, reach = b"", offset, offset
        try:
            data = os.open(log.segment_path(self._directory, stream, self._segment), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._segment, self._record, self._offset = self._segment + 1, 0, 0  # trimmed this very moment
            return 0
        try:
            for number in range(0, len(index), 2):
                time_ns, end = index[number], index[number + 1]
                if end > reach:
                    window = os.pread(data, max(WINDOW, end - offset), offset)
                    base, reach = offset, offset + len(window)
                piece = window[offset - base : end - base]
                taken += end - offset
                offset = end
                self._record += 1
                cut = piece.rfind(b"\n") + 1
                if cut == len(piece):
                    if piece:
                        chunks.append(Chunk(time_ns, stream, carry + piece if carry else piece))
                    carry = b""
                else:
                    if cut:
                        chunks.append(Chunk(time_ns, stream, carry + piece[:cut]))
                        carry = piece[cut:]
                    else:
                        carry += piece
                    if len(carry) > LONGEST_LINE:
                        chunks.append(Chunk(time_ns, stream, carry))
                        carry = b""
                if taken >= most:
                    break
        finally:
            os.close(data)
        self._offset, self._carry, self._time = offset, carry, time_ns
        return taken

    def _read_index(self, segment: int, first: int, count: int | None = None) -> array[int]:
        """Records as time, end, time, end …; empty where there are none, or no such segment."""
        numbers: array[int] = array("Q")
        try:
            with open(log.index_path(self._directory, self._stream, segment), "rb", buffering=0) as file:
                file.seek(first * log.RECORD.size)
                raw = file.read(-1 if count is None else count * log.RECORD.size)
        except FileNotFoundError:
            return numbers
        numbers.frombytes(raw[: len(raw) // log.RECORD.size * log.RECORD.size])
        return numbers

    def _skip_what_was_trimmed(self) -> bool:
        later = [number for number in log.segments(self._directory, self._stream) if number > self._segment]
        if later:
            self._segment, self._record, self._offset = later[0], 0, 0
        return bool(later)

    def go_to(self, since_ns: int | None, tail: int | None) -> None:
        """Moves to the first line that was complete at `since_ns` or after and is among the last `tail`."""
        if since_ns is None and tail is None:
            return
        missing = tail
        for segment in reversed(log.segments(self._directory, self._stream)):
            index = self._read_index(segment, 0)
            times, ends = index[0::2], index[1::2]
            first = bisect_left(times, since_ns) if since_ns is not None else 0
            start, size = self._line_start(segment, ends[first - 1] if first else 0), ends[-1] if ends else 0
            if missing is not None:
                found, count = self._last_lines_start(segment, start, size, missing)
                start, missing = max(start, found), missing - count
            self._segment, self._offset = segment, start
            self._record = bisect_left(ends, start + 1)
            if (first and since_ns is not None) or (missing is not None and missing <= 0):
                return

    def _line_start(self, segment: int, offset: int) -> int:
        """The beginning of the line that byte `offset` is in."""
        if offset == 0:
            return 0
        low = max(0, offset - LONGEST_LINE)
        return low + self._pread(segment, low, offset - low).rfind(b"\n") + 1

    def _last_lines_start(self, segment: int, low: int, high: int, wanted: int) -> tuple[int, int]:
        """Where the last `wanted` lines of bytes low … high begin, and how many of them there are."""
        if wanted <= 0 or high <= low:
            return high, 0
        position, count = high - 1, 0  # the last byte ends a line or belongs to one; it begins none
        while position > low:
            begin = max(low, position - WINDOW)
            block = self._pread(segment, begin, position - begin)
            here = block.count(b"\n")
            if count + here >= wanted:
                at = len(block)
                for _ in range(wanted - count):
                    at = block.rfind(b"\n", 0, at)
                return begin + at + 1, wanted
            count, position = count + here, begin
        return low, count + 1

    def _pread(self, segment: int, offset: int, length: int) -> bytes:
        try:
            with open(log.segment_path(self._directory, self._stream, segment), "rb", buffering=0) as file:
                return os.pread(file.fileno(), length, offset)
        except FileNotFoundError:
            return b""


def _last_lines(chunks: list[Chunk], count: int) -> list[Chunk]:
    """The last `count` lines of both streams together."""
    chunks.sort(key=attrgetter("time_ns"))
    kept: list[Chunk] = []
    for time_ns, stream, data in reversed(chunks):
        if count <= 0:
            break
        found = _split(data)[-count:]
        count -= len(found)
        kept.append(Chunk(time_ns, stream, b"".join(found)))
    return kept[::-1]
