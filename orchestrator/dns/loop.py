"""One thread that waits for sockets and deadlines: epoll and nothing around it."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT

Handler = Callable[[], None]


class Loop:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[Callable[[float], float | None]] = []
        self.signals: Handler = lambda: None  # before each wait and after it, and wherever it matters

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler` when `fd` is ready, or broken; a second call changes the first."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Before it is closed."""
        if self._handlers.pop(fd, None):
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def at_times(self, timer: Callable[[float], float | None]) -> None:
        """`timer(now)` after each turn: does what is due and says when it wants to be called at the latest."""
        self._timers.append(timer)

    def turn(self) -> None:
        """Wait for the next event or deadline and see to it. CLOCK_MONOTONIC."""
        self.signals()
        now = time.monotonic()
        due = min((at for timer in self._timers if (at := timer(now)) is not None), default=None)
        events = self._epoll.poll(None if due is None else max(due - now, 0) + 0.001, 64)
        self.signals()
        for fd, _events in events:
            if handler := self._handlers.get(fd):  # none: an earlier one of this turn closed it
                handler()
