"""A health check: a program in a container, one question and one answer. Asked every second, of every container."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

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


class Check:
    """One run of a check. The reply is given at its end: code, signal, timeout and output, or why it never ran."""

    __slots__ = ("_born", "_capture", "_container", "_loop", "_most", "_output", "_reply", "_timed_out", "_timer")

    def __init__(self, loop: Loop, container: Container) -> None:
        self._loop, self._container = loop, container
        self._born: Born
        self._reply: Reply
        self._capture: int | None = None
        self._output = bytearray()
        self._most = 0
        self._timer: Timer
        self._timed_out = False

    def begin(self, runtime: Runtime, spec: Spec, request: Mapping[str, Any], reply: Reply, nothing: int) -> None:
        """`nothing`: /dev/null, open for reading. Raises OSError, Refused: then nothing is left behind."""
        prepared = entrance(runtime, spec, self._container, request)
        self._most = min(int(request["capture"]), MOST_CAPTURED)
        until = time.monotonic() + float(request["timeout"])
        capture, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.set_blocking(writer, True)
            container = self._container
            self._born = runtime.enter(
                container.pidfd, prepared, nothing, writer, writer, container.cgroup, reported=False
            )
        except Exception:
            os.close(capture)
            raise
        finally:
            os.close(writer)
        self._capture, self._reply = capture, reply
        self._loop.watch(capture, IN, lambda _: self._read())
        self._timer = self._loop.at(until, self._time_is_up)

    @property
    def pid(self) -> int:
        return self._born.pid

    def _read(self) -> None:
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
        self._timed_out = True
        kill_tree(self.pid, self._born.pidfd, self._container.cgroup.processes())

    def ended(self, status: int) -> None:
        """It is dead. What a grandchild may still write into its pipe is of no interest."""
        self._read()
        self._close_capture()
        self._timer.cancel()
        os.close(self._born.pidfd)
        if failure := self._born.settle():
            self._reply.refuse(failure)
            return
        code, number = ending(status)
        text = bytes(self._output).decode(errors="replace")
        self._reply.done(code=code, signal=number, timeout=self._timed_out, output=text)
