"""Runs the health checks: when `health` says so, inside the container, through the launcher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal

from orchestrator import health
from orchestrator.agent import clock
from orchestrator.agent.containers import Containers, Record
from orchestrator.agent.events import Events
from orchestrator.agent.launcher_client import LauncherClient
from orchestrator.errors import OrchestratorError
from orchestrator.health.check import Check, Result, Verdict

Took = Callable[[Record, Literal["start", "stop"], float], None]
OUTPUT_KEPT = 4096  # bytes, as Docker keeps


class Prober:
    """One timer per running container that has a check; a check never overlaps itself."""

    def __init__(
        self, containers: Containers, events: Events, launcher: Callable[[], LauncherClient], took: Took
    ) -> None:
        self._took = took
        self._containers = containers
        self._events = events
        self._launcher = launcher
        self._timers: dict[str, asyncio.TimerHandle] = {}  # container id → its next probe
        self._probing: dict[str, Record] = {}  # exec id → whose probe it is
        self._asking: set[asyncio.Task[None]] = set()

    def watch(self, record: Record) -> None:
        """The container has just started, or was found running: its first probe is due at once."""
        self.forget(record)
        check = record.definition.healthcheck
        if check is None or record.phase != "running" or record.paused:
            return
        if record.verdict is None:
            record.change(verdict=Verdict("starting", record.started or clock.now()))
        self._schedule(record, check)

    def _schedule(self, record: Record, check: Check) -> None:
        self.forget(record)
        started = record.started or clock.now()
        fresh = record.verdict is None or record.verdict.last is None
        due = health.next_probe(check, None if fresh else record.verdict, started)
        loop = asyncio.get_running_loop()
        self._timers[record.id] = loop.call_later(max(due - clock.now(), 0), self._begin, record, check)

    def forget(self, record: Record) -> None:
        """No more probes of this run."""
        timer = self._timers.pop(record.id, None)
        if timer is not None:
            timer.cancel()

    def _begin(self, record: Record, check: Check) -> None:
        task = asyncio.get_running_loop().create_task(self._ask(record, check))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, record: Record, check: Check) -> None:
        if record.phase != "running" or record.paused:
            return
        try:
            reply = await self._launcher().request(
                "exec",
                container=record.id,
                args=command_of(check),
                env={},
                cwd=None,
                user=None,
                tty=False,
                stdin=False,
                capture=OUTPUT_KEPT,
                timeout=check.timeout,
            )
        except OrchestratorError as error:
            self._judge(record, check, Result(clock.now(), None, str(error)))
        else:
            self._probing[reply["exec"]] = record

    def answered(self, message: Mapping[str, Any]) -> None:
        """The launcher says that an exec is over; content with one that is not a probe."""
        record = self._probing.pop(message["exec"], None)
        check = record.definition.healthcheck if record is not None else None
        if record is None or check is None:
            return
        output = message.get("output") or ""
        if message.get("timeout"):
            result = Result(clock.now(), None, output or f"no answer within {check.timeout:g} s")
        else:
            result = Result(clock.now(), message["code"], output)
        self._judge(record, check, result)

    def _judge(self, record: Record, check: Check, result: Result) -> None:
        if record.phase != "running" or record.paused:  # a check that stood still with its container says nothing
            return
        before = record.verdict
        after = health.judge(check, before, result, record.started or result.at)
        record.change(verdict=after)
        if before is None or after.status != before.status:
            self._containers.write_history(record)
            if after.status == "healthy" and (before is None or before.status == "starting") and record.started:
                self._took(record, "start", result.at - record.started)
            words = result.output.strip().splitlines()
            self._events.note(
                f"health_status: {after.status}",
                record.name,
                words[-1] if words and after.status != "healthy" else "",
                stack=record.stack,
                service=record.service,
                attributes={"exitCode": result.code},
            )
        self._schedule(record, check)

    def adopt(self) -> None:
        """A new connection to the launcher: answers to earlier probes may be lost, so every check is due again."""
        self._probing.clear()
        for record in self._containers:
            self.watch(record)


def command_of(check: Check) -> list[str]:
    """Compose `healthcheck.test` as an argument vector."""
    kind, *rest = check.test
    return ["/bin/sh", "-c", *rest] if kind == "CMD-SHELL" else rest
