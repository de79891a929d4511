"""GET /v1/stacks/NAME/logs: the logs of a stack's containers as one stream of frames.

A frame: u8 stream (1 stdout, 2 stderr, 0 control), u16 container index, u64 wall-clock ns, u32 length, all big endian,
then the bytes: whole lines of that one container, or for a control frame JSON: {"containers": [names]}, an index being
a place in that list. Large pieces travel as they are: prefixes and times are the client's business.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

from orchestrator.agent import clock
from orchestrator.agent.circle import Circle
from orchestrator.agent.containers import Record
from orchestrator.api.http import Request
from orchestrator.errors import Missing, Mistake
from orchestrator.runtime import logreader

FRAME = struct.Struct("!BHQI")
LOOK_AGAIN = 0.05  # seconds between looks at a log that is followed
SPAN = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


async def stream(circle: Circle, stack: str, request: Request) -> AsyncIterator[bytes]:
    """The frames; ends when the past is told, or with `follow` when the last container of the stack is gone."""
    wish = circle.wishes.get(stack)
    if wish is None:
        raise Missing(f"cannot read logs: stack {stack!r} is not up here")
    services = request.names("services")
    unknown = [name for name in services if name not in wish.stack.services and name not in wish.orphans]
    if unknown:
        raise Mistake(*(f"no such service: {name}" for name in unknown))
    tail, index = request.number("tail"), request.number("index")
    since, until = moment(request.query.get("since")), moment(request.query.get("until"))
    silent = request.names("silent")
    only_attached = request.flag("attached")  # `attach: false` is about `up`, not about `logs`
    names: list[str] = []

    def wanted() -> list[Record]:
        return [
            record
            for record in sorted(circle.containers.of(stack), key=lambda r: r.created_wall)
            if (not services or record.service in services) and (index is None or record.slot == int(index))
            if record.service not in silent and (record.definition.attach or not only_attached) and record.slot > 0
        ]

    if not request.flag("follow"):
        records = wanted()
        yield _control([record.name for record in records])
        for piece in _past(circle, records, since, until, None if tail is None else int(tail)):
            yield piece
            await asyncio.sleep(0)  # a long log must not keep the circle from turning
        return

    followers: dict[str, tuple[int, logreader.Follower]] = {}
    while True:
        records = wanted()
        fresh = [record for record in records if record.id not in followers]
        for record in fresh:
            known = bool(names) and record.name in names
            if not known:
                names.append(record.name)
            directory = log_directory(circle, record)
            # Only what was there when the reader came is cut to its tail: later containers are told from the start.
            start = logreader.Follower(
                directory, since_ns=since, tail=int(tail) if tail is not None and not known else None
            )
            followers[record.id] = (names.index(record.name), start)
        if fresh:
            yield _control(names)
        quiet = True
        alive = {record.id: record for record in records}
        for id, (number, follower) in list(followers.items()):
            chunks = follower.poll()
            if id not in alive or (not chunks and alive[id].phase == "exited"):
                chunks += follower.finish()
            for chunk in chunks:
                quiet = False
                yield FRAME.pack(chunk.stream, number, chunk.time_ns, len(chunk.data)) + chunk.data
            if id not in alive:
                del followers[id]
        if not followers and circle.wishes.get(stack) is None:
            return
        if quiet:
            await asyncio.sleep(LOOK_AGAIN)


def _past(
    circle: Circle, records: list[Record], since: int | None, until: int | None, tail: int | None
) -> Iterator[bytes]:
    """Everything so far, container after container merged by time."""
    import heapq

    sources = [_numbered(circle, number, record, since, until, tail) for number, record in enumerate(records)]
    for time_ns, number, chunk in heapq.merge(*sources, key=lambda item: item[0]):
        yield FRAME.pack(chunk.stream, number, time_ns, len(chunk.data)) + chunk.data


def _numbered(
    circle: Circle, number: int, record: Record, since: int | None, until: int | None, tail: int | None
) -> Iterator[tuple[int, int, logreader.Chunk]]:
    for chunk in logreader.read(log_directory(circle, record), since_ns=since, until_ns=until, tail=tail):
        yield chunk.time_ns, number, chunk


def log_directory(circle: Circle, record: Record) -> str:
    return os.path.join(circle.root.container(record.id), "log")


def _control(names: list[str]) -> bytes:
    body = json.dumps({"containers": names}).encode()
    return FRAME.pack(0, 0, clock.wall_ns(), len(body)) + body


def moment(text: str | None) -> int | None:
    """Docker's `--since`: a span back from now ("10m", "1h30m"), seconds since the epoch, or an ISO date; in ns."""
    if not text:
        return None
    try:
        return int(float(text) * 1e9)
    except ValueError:
        pass  # not a number: a span or a date
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1e9)
    except ValueError:
        pass  # not a date: a span
    total, number = 0.0, ""
    for letter in text:
        if letter in SPAN and number:
            total, number = total + float(number) * SPAN[letter], ""
        elif letter.isdigit() or letter == ".":
            number += letter
        else:
            raise Mistake(f"cannot read the time {text!r}: write 10m, 1h30m, an ISO date or seconds since 1970")
    if number:
        raise Mistake(f"cannot read the time {text!r}: a span needs a unit (s, m, h, d)")
    return clock.wall_ns() - int(total * 1e9)
