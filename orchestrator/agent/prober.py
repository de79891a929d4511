"""Runs the probes: when `health` says so, and what their answers mean together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from orchestrator import health
from orchestrator.agent import clock
from orchestrator.agent.asking import Readers, ask
from orchestrator.agent.containers import Containers, Record
from orchestrator.agent.events import Events
from orchestrator.agent.gaps import Gaps
from orchestrator.agent.launcher_client import LauncherClient
from orchestrator.errors import OrchestratorError, Unreachable
from orchestrator.health.check import Check, Result, Verdict
from orchestrator.health.command import Command
from orchestrator.health.file import File
from orchestrator.health.grpc import Grpc
from orchestrator.health.http import Http
from orchestrator.health.log import Log
from orchestrator.health.probe import ROLES, Probe, Role, together
from orchestrator.health.tcp import Tcp

Took = Callable[[Record, Literal["start", "stop"], float], None]
OUTPUT_KEPT = 4096  # bytes, as Docker keeps
UNHEARD = 10.0  # seconds for which the launcher asks again by itself what was well


class Prober:
    """A timer for each probe of a running container; a probe never overlaps itself."""

    def __init__(
        self, containers: Containers, events: Events, launcher: Callable[[], LauncherClient], took: Took
    ) -> None:
        self._took = took
        self._containers = containers
        self._events = events
        self._launcher = launcher
        self._readers = Readers(containers.root)
        self._timers: dict[tuple[str, Role], asyncio.TimerHandle] = {}  # container id and probe → its next look
        self._asked: dict[tuple[str, Role], asyncio.Future[Any]] = {}  # the latest command check, asked of the launcher
        self._asking: set[asyncio.Task[None]] = set()
        self._gaps = Gaps(clock.now(), clock.slept())

    def look_for_gaps(self) -> bool:
        """Called every moment; after a time in which nothing ran here, what fails does not count for a while."""
        told = self._gaps.look(clock.now(), clock.slept())
        if told:
            self._events.note("gap", "agent", told, kind="daemon")
        return self._gaps.excuse(clock.now())

    def watch(self, record: Record) -> None:
        """The container has just started, or was found running: its first probes are due at once."""
        self.forget(record)
        roles = record.definition.roles
        if not roles or record.phase != "running" or record.paused:
            return
        kept = {role: verdict for role, verdict in record.verdicts.items() if role in roles}
        started = record.started or clock.now()
        record.change(verdicts=kept, verdict=together(kept, roles, started))
        for role in roles:
            if self._due(record, role):
                self._schedule(record, role)

    def _due(self, record: Record, role: Role) -> bool:
        """Ready and live wait for startup, and startup is asked until it is well."""
        startup = record.verdicts.get("startup")
        begun = startup is not None and startup.status == "healthy"
        return not begun if role == "startup" else begun or "startup" not in record.definition.roles

    def _schedule(self, record: Record, role: Role) -> None:
        self._cancel(record.id, role)
        verdict, check, started = record.verdicts.get(role), record.definition.check(role), _begun(record, role)
        fresh = verdict is None or verdict.last is None
        due = health.next_probe(check, None if fresh else verdict, started)
        loop = asyncio.get_running_loop()
        self._timers[record.id, role] = loop.call_later(max(due - clock.now(), 0), self._begin, record, role)

    def _cancel(self, id: str, role: Role) -> None:
        timer = self._timers.pop((id, role), None)
        if timer is not None:
            timer.cancel()

    def forget(self, record: Record) -> None:
        """No more probes of this run."""
        for id, role in [key for key in self._timers if key[0] == record.id]:
            self._cancel(id, role)
        for role in ROLES:
            self._asked.pop((record.id, role), None)
        self._readers.forget(record.id)

    def _begin(self, record: Record, role: Role) -> None:
        if record.phase != "running" or record.paused or role not in record.definition.roles:
            return
        probe = self._probe(record, role)
        if isinstance(probe, Command):
            self._begin_command(record, role, probe)
            return
        task = asyncio.get_running_loop().create_task(self._ask(record, role, probe))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, record: Record, role: Role, probe: Http | Tcp | Grpc | File | Log) -> None:
        run = record.started
        result = await ask(probe, record, self._readers, record.definition.check(role).timeout)
        if record.started == run:  # else the answer is of an earlier run
            self._judge(record, role, result)

    def _probe(self, record: Record, role: Role) -> Probe:
        if role == "healthcheck" and record.definition.healthcheck is not None:
            return Command(tuple(command_of(record.definition.healthcheck)))
        return record.definition.probes[role].probe

    def _begin_command(self, record: Record, role: Role, probe: Command) -> None:
        try:
            launcher = self._launcher()
        except OrchestratorError:
            return  # the next launcher is asked again, see `adopt`
        check, args = record.definition.check(role), list(probe.args)
        answer = launcher.begin(
            "check", container=record.id, args=args, capture=OUTPUT_KEPT, timeout=check.timeout, probe=role,
            **_repetition(check, record.verdicts.get(role)),
        )  # fmt: skip
        self._asked[record.id, role] = answer
        answer.add_done_callback(partial(self._answered, record, role, record.runs))

    def _answered(
        self, record: Record, role: Role, run: int, answer: asyncio.Future[tuple[dict[str, Any], list[int]]]
    ) -> None:
        if answer.cancelled() or record.runs != run or role not in record.definition.roles:
            return  # it says nothing of the run that there is now
        if self._asked.get((record.id, role)) is not answer:
            return  # it was asked anew meanwhile
        error = answer.exception()
        if isinstance(error, Unreachable):
            return  # it says nothing of the container; the next launcher is asked again, see `adopt`
        if isinstance(error, OrchestratorError):
            self._judge(record, role, Result(clock.now(), None, str(error)))
            return
        message, _ = answer.result()
        self._count(record, role, message["times"] - 1)
        output = message["output"]
        if message["timeout"]:
            timeout = record.definition.check(role).timeout
            result = Result(clock.now(), None, output or f"no answer within {timeout:g} s")
        else:
            result = Result(clock.now(), message["code"], output)
        self._judge(record, role, result)

    def _count(self, record: Record, role: Role, times: int) -> None:
        """The launcher asked so many times more, and all was well."""
        verdict = record.verdicts.get(role)
        if times and verdict is not None:
            record.change(verdicts={**record.verdicts, role: replace(verdict, probes=verdict.probes + times)})

    def _judge(self, record: Record, role: Role, result: Result) -> None:
        # A check that stood still with its container says nothing.
        if record.phase != "running" or record.paused or role not in record.definition.roles:
            return
        check, before, started = record.definition.check(role), record.verdict, record.started or result.at
        excused = self.look_for_gaps()
        verdict = health.judge(check, record.verdicts.get(role), result, _begun(record, role), excused=excused)
        record.change(verdicts={**record.verdicts, role: verdict})
        after = together(record.verdicts, record.definition.roles, started)
        record.change(verdict=after)
        if before is None or after.status != before.status:
            self._tell(record, before, after, result)
        if role == "startup" and verdict.status == "healthy":
            self.watch(record)  # now the others are due
        else:
            self._schedule(record, role)

    def _tell(self, record: Record, before: Verdict | None, after: Verdict, result: Result) -> None:
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

    def adopt(self) -> None:
        """A new connection to the launcher: answers to earlier probes may be lost, so every check is due again."""
        for record in self._containers:
            self.watch(record)


def _begun(record: Record, role: Role) -> float:
    """When a probe's time began: with the run, or with the end of the startup that it had to wait for."""
    startup = record.verdicts.get("startup") if role != "startup" else None
    return max(record.started or clock.now(), startup.since if startup else 0.0)


def _repetition(check: Check, verdict: Verdict | None) -> dict[str, Any]:
    """As long as all is well and stays the same, the launcher may ask again by itself, and tell us now and then."""
    times = int(UNHEARD // check.interval) if check.interval > 0 else 0
    if verdict is None or verdict.status != "healthy" or verdict.failing or times < 2:
        return {}
    return {"every": check.interval, "times": times}


def command_of(check: Check) -> list[str]:
    """Compose `healthcheck.test` as an argument vector."""
    kind, *rest = check.test
    return ["/bin/sh", "-c", *rest] if kind == "CMD-SHELL" else rest
