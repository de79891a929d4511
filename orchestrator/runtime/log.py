"""What a container prints, kept: one FIFO into a row of segment files. The launcher writes; `logreader` reads.

A log directory holds, for each of the two streams, numbered segments and an index beside each:

    out.000000.log  out.000000.index  out.000001.log …          err.000000.log …

A segment is the container's bytes and nothing else: they are moved by splice(2), which takes out of the pipe exactly
what it has put into the file. A launcher that is killed between any two instructions therefore loses no byte and
writes none twice. The index says when: records of 16 bytes (little endian), `u64 time, u64 end`: "at `time`
(wall clock, ns) the segment had grown to `end` bytes". A record that is missing only makes the next one cover more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from array import array
from collections.abc import Callable

RECORD = struct.Struct("<QQ")  # wall clock ns, size of the segment at that time
NAMES = {1: "out", 2: "err"}
SEGMENT_BYTES = 16 << 20
SEGMENTS = 8  # kept per stream: 128 MiB
MOVED_AT_ONCE = 1 << 20  # one splice
LEAST_SLACK = 1 << 10
PIPE_BYTES = 1 << 20
_FIONREAD = 0x541B  # ioctl_pipe(2): bytes in the pipe


def segment_path(directory: str, stream: int, segment: int) -> str:
    return os.path.join(directory, f"{NAMES[stream]}.{segment:06d}.log")


def index_path(directory: str, stream: int, segment: int) -> str:
    return os.path.join(directory, f"{NAMES[stream]}.{segment:06d}.index")


def segments(directory: str, stream: int) -> list[int]:
    """Numbers of the segments that are there, oldest first. None where there is no log (yet, or any more)."""
    prefix, suffix = NAMES[stream] + ".", ".index"
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(
        int(name[len(prefix) : -len(suffix)]) for name in names if name.startswith(prefix) and name.endswith(suffix)
    )


class Stream:
    """One FIFO and its segments. `fifo`: non-blocking, owned (closed with the stream). Files open with the first byte.

    `tell(sentence)` hears about trouble with the disk, once when it begins and once when it is over: what cannot be
    written is dropped and counted in `dropped`, for a container must never hang because a disk is full.

    `whole`: bytes that both streams of the container may take together, instead of a number of segments for each.
    A segment may outgrow `segment_bytes` by a quarter (1 MiB at most), waiting for the end of a line.
    """

    __slots__ = (
        "_data", "_directory", "_ends", "_index", "_largest", "_number", "_segment", "_tell", "_unindexed", "_wide",
        "dropped", "fifo", "segment_bytes", "segments_kept", "whole",
    )  # fmt: skip

    def __init__(
        self,
        directory: str,
        number: int,
        fifo: int,
        tell: Callable[[str], None],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segments_kept: int = SEGMENTS,
        whole: int | None = None,
    ) -> None:
        self.fifo = fifo
        self.dropped = 0
        self.segment_bytes, self.segments_kept = segment_bytes, max(1, segments_kept)
        self._largest = segment_bytes + min(MOVED_AT_ONCE, max(LEAST_SLACK, segment_bytes // 4))
        self.whole = whole
        self._directory, self._number, self._tell = directory, number, tell
        self._segment = -1
        self._data = self._index = -1
        self._ends = 0  # size of the open segment
        self._unindexed = False
        self._wide = False

    def drain(self, now: int) -> int:
        """Moves at most 1 MiB from the FIFO to the segment; returns the bytes moved (or dropped), 0: it is empty.

        `now`: wall clock ns, the time of all that is moved.
        """
        try:
            if self._data < 0 or self._ends >= self.segment_bytes:
                if not self._something_waits():
                    return 0  # a container that prints nothing has no files
                self._turn_page(now)
            most = min(MOVED_AT_ONCE, self._largest - self._ends)
            moved = os.splice(self.fifo, self._data, most, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return 0
        except OSError as error:
            return self._drop(error)
        if moved:
            self._ends += moved
            self._unindexed = True
            self._write_index(now)
            if self.dropped:
                self._recovered()
        return moved

    def _something_waits(self) -> bool:
        count = array("i", [0])
        fcntl.ioctl(self.fifo, _FIONREAD, count)
        return count[0] > 0

    def widen(self) -> bool:
        """Gives a fast writer a pipe of 1 MiB, so that the log is taken in large bites. False: the kernel refuses.

        Not done for everybody: the kernel allows one user 64 MiB of pipes (pipe(7), pipe-user-pages-soft).
        """
        if not self._wide:
            try:
                self._wide = fcntl.fcntl(self.fifo, fcntl.F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES
            except OSError:
                return False
        return self._wide

    def close(self, now: int) -> None:
        """Takes what the FIFO still holds, however much, then closes everything."""
        while self.drain(now):
            pass
        self._close_segment(now)
        os.close(self.fifo)

    def _turn_page(self, now: int) -> None:
        """Opens the segment to write to: the newest of an earlier launcher, else a new one; removes the eldest."""
        if self._data < 0:
            os.makedirs(self._directory, exist_ok=True)
            self._open((segments(self._directory, self._number) or [0])[-1])
            if self._ends > self._indexed():
                self._unindexed = True
                self._write_index(now)  # moved by a launcher that died before it could say when
        if self._ends >= self.segment_bytes and self._at_end_of_line():
            self._close_segment(now)
            self._open(self._segment + 1)
            for stream, old in self._too_many() if self.whole is None else self._too_large(self.whole):
                for path_of in (segment_path, index_path):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path_of(self._directory, stream, old))

    def _too_many(self) -> list[tuple[int, int]]:
        """(stream, segment) of this stream's that are more than are kept."""
        kept = self._segment - self.segments_kept
        return [(self._number, old) for old in segments(self._directory, self._number) if old <= kept]

    def _too_large(self, whole: int) -> list[tuple[int, int]]:
        """(stream, segment) of the eldest of both streams that leave no room for what is being written."""
        room, closed = whole, []
        for stream in NAMES:
            *old, newest = segments(self._directory, stream) or [-1]
            room -= self._largest if newest >= 0 else 0
            for segment in old:
                facts = os.stat(segment_path(self._directory, stream, segment))
                closed.append((facts.st_mtime_ns, facts.st_size, stream, segment))
        gone = []
        for _, size, stream, segment in sorted(closed, reverse=True):
            room -= size
            if room < 0:
                gone.append((stream, segment))
        return gone

    def _open(self, segment: int) -> None:
        # splice(2) refuses O_APPEND: the file's own position is the end, and we are its only writer.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        data = os.open(segment_path(self._directory, self._number, segment), flags, 0o640)
        try:
            self._index = os.open(index_path(self._directory, self._number, segment), flags, 0o640)
        except OSError:
            os.close(data)
            raise
        self._data, self._segment = data, segment
        self._ends = os.lseek(data, 0, os.SEEK_END)
        # Whole records only: a disk that was full may have cut the last one short.
        os.lseek(self._index, os.fstat(self._index).st_size // RECORD.size * RECORD.size, os.SEEK_SET)

    def _indexed(self) -> int:
        at = os.lseek(self._index, 0, os.SEEK_CUR) - RECORD.size
        return RECORD.unpack(os.pread(self._index, RECORD.size, at))[1] if at >= 0 else 0

    def _at_end_of_line(self) -> bool:
        """Rotation waits for the end of a line, but not for ever."""
        return self._ends >= self._largest or os.pread(self._data, 1, self._ends - 1) == b"\n"

    def _write_index(self, now: int) -> None:
        if not self._unindexed:
            return
        try:
            written = os.write(self._index, RECORD.pack(now, self._ends))
        except OSError:
            return  # the next record covers this one's bytes
        if written == RECORD.size:
            self._unindexed = False
        else:
            os.lseek(self._index, -written, os.SEEK_CUR)

    def _close_segment(self, now: int) -> None:
        if self._data >= 0:
            self._write_index(now)
            os.close(self._data)
            os.close(self._index)
            self._data = self._index = -1

    def _drop(self, error: OSError) -> int:
        try:
            lost = len(os.read(self.fifo, MOVED_AT_ONCE))
        except BlockingIOError:
            return 0
        if not self.dropped:
            self._tell(f"cannot write the log in {self._directory}: {error.strerror}; its output is dropped meanwhile")
        self.dropped += lost
        return lost

    def _recovered(self) -> None:
        self._tell(f"the log in {self._directory} goes on; {self.dropped} bytes of output were dropped")
        self.dropped = 0
