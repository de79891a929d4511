"""A health check: a program in a container, one question and one answer. Asked every second, of every container.

As long as nothing changes, nobody needs to hear of it: `every` and `times` of a request let the launcher ask again by
itself, until an answer differs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from orchestrator.launcher.clients import Reply
from orchestrator.launcher.container import Container
from orchestrator.launcher.deaths import ending
from orchestrator.launcher.execs import MOST_CAPTURED, entrance
from orchestrator.launcher.loop import IN, Loop, Timer
from orchestrator.launcher.tree import kill_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.launcher.execs import Spec
    from orchestrator.launcher.runtimes import Born, Runtime

    Attempt = Callable[[Reply, object, Callable[[], None]], None]

AT_LEAST = 0.001  # seconds that a process is given
TOGETHER = 10  # so many times in an interval checks are begun: those due at about the same time cost one waking up


class Check:
    """One check. The reply is given at its end: code, signal, timeout and output, or why it never ran.

    `times` in the reply: how often it ran; the last answer is told, all before it were well and said the same.
    """

    __slots__ = (
        "_attempt", "_born", "_capture", "_container", "_every", "_loop", "_most", "_newborn", "_nothing", "_output",
        "_ran", "_reply", "_request", "_runtime", "_said", "_spec", "_timed_out", "_timer", "_times", "_until",
        "_writer",
    )  # fmt: skip

    def __init__(
        self, loop: Loop, container: Container, runtime: Runtime, spec: Spec, nothing: int,
        newborn: Callable[[Check], None], attempt: Attempt,
    ) -> None:  # fmt: skip
        """`nothing`: /dev/null, open for reading. `newborn(check)` hears of each process, to call `meet` soon."""
        self._loop, self._container, self._runtime, self._spec, self._nothing = loop, container, runtime, spec, nothing
        self._newborn, self._attempt = newborn, attempt
        self._born: Born | None = None
        self._request: Mapping[str, Any]
        self._reply: Reply
        self._capture: int | None = None
        self._writer: int | None = None  # the child's end of it
        self._output = bytearray()
        self._most = 0
        self._timer: Timer | None = None
        self._until = 0.0
        self._timed_out = False
        self._every, self._times, self._ran = 0.0, 1, 0
        self._said: dict[str, Any] | None = None  # the answer so far

    def begin(self, request: Mapping[str, Any], reply: Reply) -> None:
        """Raises OSError, Refused: then nothing is left behind."""
        self._request, self._reply = request, reply
        self._most = min(int(request["capture"]), MOST_CAPTURED)
        if request.get("every"):
            self._every, self._times = float(request["every"]), int(request["times"])
        self._run()
        if probe := request.get("probe"):
            if former := self._container.checks.get(probe):
                former.stop()
            self._container.checks[probe] = self

    def stop(self) -> None:
        """It is not asked again: somebody else asks now."""
        self._times = 0
        if self._born is None and self._said is not None:
            self._answer()

    def _run(self) -> None:
        prepared = entrance(self._runtime, self._spec, self._container, self._request)
        until = time.monotonic() + float(self._request["timeout"])
        capture, writer = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(capture, False)
            container, nothing = self._container, self._nothing
            self._born = self._runtime.enter(
                container.pidfd, prepared, nothing, writer, writer, container.cgroup, reported=False
            )
        except Exception:
            os.close(capture)
            os.close(writer)
            raise
        self._capture, self._writer, self._timed_out = capture, writer, False
        self._output.clear()
        self._newborn(self)
        self._loop.watch(capture, IN, self._read)
        self._until = until
        if self._timer is None:
            self._timer = self._loop.at(until, self._time_is_up)

    def meet(self) -> int | None:
        """The pid of its newborn process, whose end is to be told to `ended`; None: it could not be made."""
        assert self._born is not None
        assert self._writer is not None
        try:
            self._born.known()
        except OSError as error:
            self._born = None
            self._close_capture()
            self._over()
            self._reply.refuse(error.strerror or str(error), "host-refused")
            return None
        finally:
            os.close(self._writer)
            self._writer = None
        return self._born.pid

    def _read(self, _: int = 0) -> None:
        """What is more than asked for is read all the same: the program must not hang."""
        if self._capture is None:
            return
        try:
            data = os.read(self._capture, 65536)
        except BlockingIOError:
            return
        self._output += data[: max(0, self._most - len(self._output))]
        if not data:
            self._close_capture()

    def _close_capture(self) -> None:
        if self._capture is not None:
            self._loop.forget(self._capture)
            os.close(self._capture)
            self._capture = None

    def _time_is_up(self) -> None:
        """Perhaps it was the time of a former run: a timer for each would be a pile of those that nobody needs."""
        self._timer = None
        if self._born is None:
            return
        if self._until > time.monotonic() or self._writer is not None:  # its process may not be there yet
            self._timer = self._loop.at(max(self._until, time.monotonic() + AT_LEAST), self._time_is_up)
            return
        self._timed_out = True
        kill_tree(self._born.pid, self._born.pidfd, self._container.cgroup.processes())

    def ended(self, status: int) -> None:
        """It is dead. What a grandchild may still write into its pipe is of no interest."""
        self._read()
        self._close_capture()
        assert self._born is not None
        os.close(self._born.pidfd)
        failure, self._born = self._born.settle(), None
        if failure:
            self._over()
            self._reply.refuse(failure)
            return
        code, number = ending(status)
        said = {
            "code": code,
            "signal": number,
            "timeout": self._timed_out,
            "output": bytes(self._output).decode(errors="replace"),
        }
        self._ran += 1
        same, self._said = self._said is None or said == self._said, said
        if same and code == 0 and not self._timed_out and self._ran < self._times:
            self._loop.at(_aligned(time.monotonic() + self._every, self._every), self._again)
        else:
            self._answer()

    def _again(self) -> None:
        if self._ran >= self._times:
            return  # stopped meanwhile
        if self._reply.nobody_waits:
            self._over()
        elif self._container.status != "running" or self._container.paused:
            self._answer()
        else:
            self._attempt(self._reply, "check", self._run_again)

    def _run_again(self) -> None:
        try:
            self._run()
        except Exception:
            self._over()
            raise

    def _answer(self) -> None:
        self._over()
        self._reply.done(**(self._said or {}), times=self._ran)

    def _over(self) -> None:
        self._times = 0
        if self._timer:
            self._timer.cancel()
        probe = str(self._request.get("probe"))
        if self._container.checks.get(probe) is self:
            del self._container.checks[probe]


def _aligned(when: float, interval: float) -> float:
    """The nearest of the moments at which checks of this interval are begun."""
    step = interval / TOGETHER
    return round(when / step) * step
