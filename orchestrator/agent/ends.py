"""Waiting for containers to end: for `wait`, and for whoever runs a container of his own."""

from __future__ import annotations

from orchestrator.agent.circle import Circle
from orchestrator.agent.containers import Record
from orchestrator.agent.direct import chosen
from orchestrator.agent.watch import Progress
from orchestrator.errors import Conflict


async def wait(circle: Circle, stack: str, services: list[str]) -> Progress:
    """A line {"type": "ended", "subject", "code"} for each container of these services, when it has ended: at once for
    those that have already."""
    _, records = chosen(circle, stack, services)
    if not records:
        raise Conflict(f"cannot wait: there is no container of {', '.join(services) or repr(stack)}")
    running = [record for record in records if record.phase == "running"]
    runs = {record.id: record.runs for record in running}
    over = [record for record in records if record not in running]
    yield [{"type": "ended", "subject": record.name, "code": code_of(record)} for record in over]
    while running:
        await circle.turned(None)
        over = [record for record in running if record.phase != "running" or record.runs != runs[record.id]]
        running = [record for record in running if record not in over]
        yield [{"type": "ended", "subject": record.name, "code": code_of(record)} for record in over]


def code_of(record: Record) -> int:
    """As a shell says it: 128 and the signal's number; 255 where nobody can know."""
    last = record.last_exit
    if last is None:
        return 255
    return last.code if last.code is not None else 128 + last.signal if last.signal else 255
