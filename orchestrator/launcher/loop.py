"""Who is waited for: descriptors, clocks, children, and work that can wait. One thread around epoll(7)."""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable

MOST_TIMERS = 16  # in one turn: who else waits has a turn then
IN, OUT, HANGUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP


class Timer:
    """A deed at a time. `cancel()` may be called at any moment, also after it."""

    __slots__ = ("deed",)

    def __init__(self, deed: Callable[[], None]) -> None:
        self.deed: Callable[[], None] | None = deed

    def cancel(self) -> None:
        self.deed = None


class Loop:
    """`children(pid, status)` is told of every child that ended, known or not (a subreaper inherits strangers).

    `later` holds work that begins only when nothing is ready, one piece a turn: births queue there, so that requests
    to start, reports and deaths never wait behind a row of births.
    """

    def __init__(self, children: Callable[[int, int], None]) -> None:
        self.later: deque[Callable[[], None]] = deque()
        self.stopped = False
        self._children = children
        self._epoll = select.epoll()
        self._deeds: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._number = 0
        self._someone_ended = True  # before the signal was set up, perhaps
        self._bell, ringer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(ringer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.watch(self._bell, IN, self._rung)

    def watch(self, fd: int, events: int, deed: Callable[[int], None]) -> None:
        """`deed(events)` whenever `fd` is ready. It must bear being called in vain: a number may have been reused."""
        self._epoll.register(fd, events)
        self._deeds[fd] = deed

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Before the descriptor is closed: a duplicate elsewhere would keep it in the kernel's list."""
        del self._deeds[fd]
        self._epoll.unregister(fd)

    def at(self, when: float, deed: Callable[[], None]) -> Timer:
        """`when`: CLOCK_MONOTONIC seconds; kept to within a millisecond or two."""
        timer = Timer(deed)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, timer))
        return timer

    def run(self) -> None:
        while not self.stopped:
            self.turn()

    def turn(self) -> None:
        for fd, events in self._epoll.poll(self._patience(), 256):
            if deed := self._deeds.get(fd):
                self._do(deed, events)
        for _ in range(MOST_TIMERS):
            if not self._timers or self._timers[0][0] > time.monotonic():
                break
            if deed_at := heapq.heappop(self._timers)[2].deed:
                self._do(deed_at)
        # Deaths come after the reports of this turn: a program that ran and ended within one turn has run.
        if self._someone_ended:
            self._someone_ended = False
            self._reap()
        if self.later:
            self._do(self.later.popleft())

    def _patience(self) -> float:
        if self.later or self._someone_ended:
            return 0
        while self._timers and self._timers[0][2].deed is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def _do(self, deed: Callable[..., None], *arguments: int) -> None:
        """One deed's failure is no reason to leave a hundred containers alone: it is printed, and the loop goes on."""
        try:
            deed(*arguments)
        except Exception:
            sys.excepthook(*sys.exc_info())

    def _rung(self, _: int) -> None:
        self._someone_ended = True
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, 4096)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._do(self._children, pid, status)
