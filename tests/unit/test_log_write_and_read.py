"""The log: what goes into the pipe comes out of the reader, through rotation, restarts and full disks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.runtime import log, logreader
from orchestrator.runtime.log import Stream


class Pipe:
    """A FIFO as a container and the launcher hold it, and the sentences the stream has told."""

    def __init__(self, directory: Path, number: int = 1) -> None:
        self.directory, self.number, self.told = str(directory), number, list[str]()
        self.path = os.path.join(directory, f"fifo{number}")
        os.mkfifo(self.path)
        self.writer = os.open(self.path, os.O_RDWR)

    def stream(self, directory: str | None = None, segment_bytes: int = 1 << 30, segments_kept: int = 8) -> Stream:
        reader = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        where = directory or self.directory
        return Stream(
            where, self.number, reader, self.told.append, segment_bytes=segment_bytes, segments_kept=segments_kept
        )


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path)
    yield pipe
    os.close(pipe.writer)


def text(directory: str, **where: int) -> bytes:
    return b"".join(chunk.data for chunk in logreader.read(directory, **where))


def test_what_is_printed_is_read_with_its_time(pipe: Pipe) -> None:
    stream = pipe.stream()
    os.write(pipe.writer, b"one\ntwo\n")
    assert stream.drain(now=5) == 8
    os.write(pipe.writer, b"three\n")
    stream.close(now=7)
    assert list(logreader.read(pipe.directory)) == [(5, 1, b"one\ntwo\n"), (7, 1, b"three\n")]


def test_a_container_that_prints_nothing_has_no_files(pipe: Pipe) -> None:
    stream = pipe.stream()
    assert stream.drain(now=1) == 0
    stream.close(now=2)
    assert log.segments(pipe.directory, 1) == []
    assert list(logreader.read(pipe.directory)) == []
    assert list(logreader.read(pipe.directory + "/not/there")) == []


def test_a_line_that_comes_in_pieces_is_one_line_at_the_time_of_its_end(pipe: Pipe) -> None:
    stream = pipe.stream()
    for now, piece in enumerate((b"be", b"gin", b"ning\nlast"), start=1):
        os.write(pipe.writer, piece)
        stream.drain(now)
    assert list(logreader.read(pipe.directory)) == [(3, 1, b"beginning\n"), (3, 1, b"last")]


def test_both_streams_are_merged_by_time(tmp_path: Path) -> None:
    out, err = Pipe(tmp_path, 1), Pipe(tmp_path, 2)
    streams = out.stream(), err.stream()
    for now, (pipe, stream) in enumerate([(out, streams[0]), (err, streams[1]), (out, streams[0])], start=1):
        os.write(pipe.writer, b"%d\n" % now)
        stream.drain(now)
    assert [(stream, data) for _, stream, data in logreader.read(str(tmp_path))] == [
        (1, b"1\n"),
        (2, b"2\n"),
        (1, b"3\n"),
    ]


def test_segments_turn_at_the_end_of_a_line_and_the_eldest_goes(pipe: Pipe) -> None:
    stream = pipe.stream(segment_bytes=100, segments_kept=3)
    for number in range(100):
        os.write(pipe.writer, b"line %04d\n" % number)
        stream.drain(now=number + 1)
    assert log.segments(pipe.directory, 1) == [7, 8, 9]
    assert text(pipe.directory) == b"".join(b"line %04d\n" % number for number in range(70, 100))


def test_a_line_without_end_is_rotated_and_read_in_pieces(pipe: Pipe) -> None:
    stream = pipe.stream(segment_bytes=1 << 20, segments_kept=2)
    for now in range(1, 80):
        os.write(pipe.writer, b"x" * 65536)
        stream.drain(now)
    chunks = list(logreader.read(pipe.directory))
    assert max(len(chunk.data) for chunk in chunks) <= logreader.LONGEST_LINE + 65536
    assert 1 << 20 < sum(len(chunk.data) for chunk in chunks) <= 4 << 20


def test_bytes_without_a_record_get_one_from_the_next_launcher(pipe: Pipe) -> None:
    first = pipe.stream()
    os.write(pipe.writer, b"one\n")
    first.drain(now=1)
    # Killed between splice and record: the bytes are in the segment, the index does not say so.
    with open(log.segment_path(pipe.directory, 1, 0), "ab") as segment:
        segment.write(b"two\n")
    with open(log.index_path(pipe.directory, 1, 0), "ab") as index:
        index.write(b"half a record"[:7])
    os.write(pipe.writer, b"three\n")
    second = pipe.stream()
    second.close(now=9)
    assert list(logreader.read(pipe.directory)) == [(1, 1, b"one\n"), (9, 1, b"two\n"), (9, 1, b"three\n")]
    assert text(pipe.directory) == b"one\ntwo\nthree\n"


def test_a_disk_that_refuses_drops_and_says_so_once(pipe: Pipe, tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.touch()  # where a directory ought to be
    stream = pipe.stream(str(directory))
    for _ in range(3):
        os.write(pipe.writer, b"lost\n")
        assert stream.drain(now=1) == 5
    assert stream.dropped == 15
    assert [sentence.split(":")[0] for sentence in pipe.told] == [f"cannot write the log in {directory}"]
    directory.unlink()
    os.write(pipe.writer, b"kept\n")
    stream.drain(now=2)
    assert pipe.told[1:] == [f"the log in {directory} goes on; 15 bytes of output were dropped"]
    assert text(str(directory)) == b"kept\n"


def printed(pipe: Pipe, count: int, segment_bytes: int = 1 << 30, lines_at_once: int = 1) -> Stream:
    """`count` lines "0000\\n" …; the time of line n is n + 1."""
    stream = pipe.stream(segment_bytes=segment_bytes, segments_kept=1000)
    for number in range(0, count, lines_at_once):
        os.write(pipe.writer, b"".join(b"%04d\n" % each for each in range(number, number + lines_at_once)))
        stream.drain(now=number + 1)
    return stream


@pytest.mark.parametrize("segment_bytes", [50, 1 << 30])
@pytest.mark.parametrize("lines_at_once", [1, 10])
@pytest.mark.parametrize("tail", [0, 1, 7, 10, 11, 99, 100, 1000])
def test_tail_is_the_last_lines(pipe: Pipe, tail: int, lines_at_once: int, segment_bytes: int) -> None:
    printed(pipe, 100, segment_bytes, lines_at_once)
    expected = [b"%04d\n" % number for number in range(100)][max(0, 100 - tail) :]
    assert text(pipe.directory, tail=tail) == b"".join(expected)


def test_tail_counts_the_lines_of_both_streams_together(tmp_path: Path) -> None:
    out, err = Pipe(tmp_path, 1), Pipe(tmp_path, 2)
    streams = out.stream(), err.stream()
    for now in range(10):
        os.write((out, err)[now % 2].writer, b"%d\n" % now)
        streams[now % 2].drain(now + 1)
    assert text(str(tmp_path), tail=3) == b"7\n8\n9\n"


@pytest.mark.parametrize("segment_bytes", [50, 1 << 30])
@pytest.mark.parametrize("since", [0, 1, 2, 50, 51, 100, 101])
def test_since_and_until_are_times_of_lines(pipe: Pipe, since: int, segment_bytes: int) -> None:
    printed(pipe, 100, segment_bytes)
    expected = [b"%04d\n" % number for number in range(100) if since <= number + 1 <= 90]
    assert text(pipe.directory, since_ns=since, until_ns=90) == b"".join(expected)


def test_since_never_begins_in_the_middle_of_a_line(pipe: Pipe) -> None:
    stream = pipe.stream()
    for now, piece in enumerate((b"old\nbe", b"ginning\n"), start=1):
        os.write(pipe.writer, piece)
        stream.drain(now)
    assert text(pipe.directory, since_ns=2) == b"beginning\n"


def test_a_follower_reads_the_past_and_then_what_is_new(pipe: Pipe) -> None:
    stream = printed(pipe, 10, segment_bytes=25)
    follower = logreader.Follower(pipe.directory, tail=2)
    assert b"".join(chunk.data for chunk in follower.poll()) == b"0008\n0009\n"
    assert follower.poll() == []
    for number in range(10, 40):
        os.write(pipe.writer, b"%04d\n" % number)
        stream.drain(now=number + 1)
        assert [chunk.data for chunk in follower.poll()] == [b"%04d\n" % number]
    os.write(pipe.writer, b"no newline")
    stream.drain(now=99)
    assert follower.poll() == []
    assert follower.finish() == [(99, 1, b"no newline")]


def test_a_follower_that_was_overtaken_by_rotation_goes_on_with_the_eldest_segment(pipe: Pipe) -> None:
    follower = logreader.Follower(pipe.directory)
    stream = pipe.stream(segment_bytes=25, segments_kept=2)
    os.write(pipe.writer, b"0000\n")
    stream.drain(now=1)
    assert len(follower.poll()) == 1
    for number in range(1, 40):
        os.write(pipe.writer, b"%04d\n" % number)
        stream.drain(now=number + 1)
    assert b"".join(chunk.data for chunk in follower.poll()) == b"".join(b"%04d\n" % each for each in range(30, 40))


def test_single_lines_keep_their_carriage_returns(pipe: Pipe) -> None:
    stream = pipe.stream()
    os.write(pipe.writer, b"10%\r20%\r\nb\x00\xff\nlast")
    stream.drain(now=3)
    assert list(logreader.lines(logreader.read(pipe.directory))) == [
        (3, 1, b"10%\r20%\r\n"),
        (3, 1, b"b\x00\xff\n"),
        (3, 1, b"last"),
    ]
