"""`up` without -d: the agent's progress, the containers' output and the user's Ctrl-C, in one loop over poll(2).

An event of the agent decides nothing: it means "look again", and what `ps` says then is the truth.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from orchestrator.api.client import Client
from orchestrator.api.response import Lines, Response
from orchestrator.cli.loglines import LogPrinter
from orchestrator.cli.option import Given
from orchestrator.cli.progress import Progress, verdict
from orchestrator.cli.where import deed_path

Taker = Callable[[bytes], None]


class Attached:
    """One `up` that is followed. `run` returns its exit code."""

    def __init__(self, given: Given, client: Client, teller: Progress) -> None:
        self.given, self.client, self.teller = given, client, teller
        self.code: int | None = None  # set: it is over
        self.interrupts = 0
        self.aborting = False
        self.began = time.time_ns()
        self.printer: LogPrinter | None = None
        self.work: Response | None = None
        self.settled = False  # the up itself is done
        self.must_look = False
        self.streams: dict[int, tuple[Response, Taker]] = {}
        self.from_service: str | None = given.exit_code_from

    def run(self, body: dict[str, Any]) -> int:
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._work(self.client.open("POST", "/v1/up", body=body))
            while self.code is None:
                self._turn(woken)
            self._remaining_output()
            return self.code
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(woken)
            os.close(wake)

    # one turn of the loop

    def _turn(self, woken: int) -> None:
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        for fd in self.streams:
            poll.register(fd, select.POLLIN)
        waiting = not any(answer.pending for answer, _ in self.streams.values())
        ready = {fd for fd, _ in poll.poll(None if waiting else 0)}
        if woken in ready:
            os.read(woken, 512)
            self._interrupted()
        for fd, (answer, taker) in list(self.streams.items()):
            if (fd in ready or answer.pending) and self.streams.get(fd, (None,))[0] is answer:
                self._take(fd, answer, taker)
        if self.must_look and self.code is None:
            self.must_look = False
            self._look()

    def _take(self, fd: int, answer: Response, taker: Taker) -> None:
        data = answer.receive()
        if data is None:
            del self.streams[fd]
            answer.close()
        elif data:
            taker(data)

    def _listen(self, answer: Response, taker: Taker) -> None:
        self.streams[answer.fileno()] = (answer, taker)

    # what the agent works on: first the up, after an interrupt the stop

    def _work(self, answer: Response) -> None:
        if self.work is not None and self.work.fileno() in self.streams:
            del self.streams[self.work.fileno()]
            self.work.close()
        self.work = answer
        lines = Lines()

        def take(data: bytes) -> None:
            for message in lines.feed(data):
                self.teller.tell(message)
                if message["type"] == "accepted":
                    self._watch(message["stack"])
                elif message["type"] == "done":
                    self._worked(message)

        self._listen(answer, take)

    def _watch(self, stack: str) -> None:
        """Its output and its events, from the moment the stack has a name."""
        if self.printer is not None:
            return
        self.printer = LogPrinter(self.given, stack, timestamps=self.given.timestamps)
        logs = self.client.open("GET", deed_path(stack, "logs"), query=self._of_logs(follow=1))
        self._listen(logs, self._output)
        events = self.client.open("GET", "/v1/events", query={"stack": stack, "follow": 1})
        self._listen(events, self._event)

    def _worked(self, done: dict[str, Any]) -> None:
        failed = verdict(done)
        if self.interrupts:
            self.code = 130
        elif self.aborting:
            self.code = self._exit_code()
        elif failed:
            self.code = failed
        self.settled = self.must_look = True

    # output, events

    def _output(self, data: bytes) -> None:
        self.teller.clear()
        assert self.printer is not None
        self.printer.feed(data)

    def _event(self, _: bytes) -> None:
        self.must_look = True

    def _look(self) -> None:
        """Which of ours have ended? All: it is over. One, where that aborts: the rest is stopped."""
        if not self.settled or self.printer is None:
            return
        containers = self._containers(self.given.services)
        ended = [container for container in containers if container["State"] in ("exited", "dead")]
        aborts = [container for container in ended if self._aborts(container)]
        if aborts and not self.aborting and not self.interrupts:
            self._abort(aborts[0])
        if len(ended) == len(containers) and not self.aborting and not self.interrupts:
            self.code = 0

    def _aborts(self, container: dict[str, Any]) -> bool:
        given = self.given
        always = given.abort_on_container_exit or given.exit_code_from
        return bool(always or (given.abort_on_container_failure and container["ExitCode"] != 0))

    def _containers(self, services: list[str]) -> list[dict[str, Any]]:
        assert self.printer is not None
        query = {"stack": self.printer.stack, "all": 1, "services": ",".join(services) or None}
        return list(self.client.get("/v1/containers", **query))

    def _exit_code(self) -> int:
        """Of the service that --exit-code-from names, else of the one whose end began the abort."""
        codes = [row["ExitCode"] for row in self._containers([]) if row["Service"] == self.from_service]
        return next((int(code) for code in codes if code), 0)

    def _abort(self, container: dict[str, Any]) -> None:
        self.aborting = True
        self.from_service = self.from_service or container["Service"]
        self.teller.line(f"{container['Name']} exited with code {container['ExitCode']}: stopping the others")
        self._stop(self.given.timeout, [])

    # Ctrl-C

    def _interrupted(self) -> None:
        self.interrupts += 1
        if self.printer is None or self.interrupts > 2:
            self.code = 130
        elif self.interrupts == 1:
            self.teller.line("stopping in order (Ctrl-C again: kill)")
            self._stop(self.given.timeout, self.given.services)
        else:
            self._stop(0, self.given.services)

    def _stop(self, grace: float | None, services: list[str]) -> None:
        """The containers end and stay, as after `pyorch stop`; their last words are still shown."""
        assert self.printer is not None
        self.teller.begin_anew()
        body = {"services": services, "grace": grace, "no_deps": False}
        self._work(self.client.open("POST", deed_path(self.printer.stack, "stop"), body=body))

    # the end

    def _remaining_output(self) -> None:
        """What was written just before the end: asked for once more, and what we had already is passed over."""
        if self.printer is None:
            return
        for answer, _ in self.streams.values():
            answer.close()
        answer = self.client.open("GET", deed_path(self.printer.stack, "logs"), query=self._of_logs(follow=0))
        self.printer.again()
        while (data := answer.receive()) is not None:
            self.printer.feed(data)

    def _of_logs(self, *, follow: int) -> dict[str, Any]:
        seconds, nanoseconds = divmod(self.began, 1_000_000_000)
        services = ",".join(self.given.attach or self.given.services) or None
        silent = ",".join(self.given.no_attach) or None
        return {
            "services": services,
            "silent": silent,
            "since": f"{seconds}.{nanoseconds:09d}",
            "follow": follow,
            "attached": 1,
        }
