"""What a container reads from: nothing, a FIFO in its bundle (`stdin_open`), or a terminal (`tty`).

The launcher keeps the terminal's master and moves what the program prints into the FIFO of its stdout, so that the log
is written as ever. What is typed comes from elsewhere: the agent has a master of its own, and the FIFO has a name.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping

from orchestrator.launcher import terminal
from orchestrator.launcher.loop import IN, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

READ = 1 << 16
ROWS, COLUMNS = 24, 80  # until somebody attaches
REST = 0.002  # seconds until a full FIFO is looked at again
FIFO = "stdin"


def stdin_for(bundle: str, spec: Mapping[str, Any]) -> int:
    """The descriptor for a container's stdin; -1: it has none. Raises OSError.

    "open": both ends are the container's, it never sees an end. "once": it ends when its only writer has closed it.
    """
    how = (spec.get("annotations") or {}).get("org.pyorch.stdin")
    if how not in ("open", "once") or spec["process"].get("terminal"):
        return -1
    path = os.path.join(bundle, FIFO)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    descriptor = os.open(path, (os.O_RDWR if how == "open" else os.O_RDONLY | os.O_NONBLOCK) | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return descriptor


class Terminal:
    """A container's terminal. The slave stays open here: a program may close its own and open it again."""

    __slots__ = ("_fifo", "_loop", "_slave", "_unwritten", "master")

    def __init__(self, loop: Loop, bundle: str, master: int, slave: int = -1) -> None:
        self.master, self._slave, self._loop = master, slave, loop
        self._fifo = os.open(os.path.join(bundle, "stdout"), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._unwritten = b""
        os.set_blocking(master, False)
        loop.watch(master, IN, lambda _: self._move())

    @staticmethod
    def opened(loop: Loop, bundle: str, pid: int) -> Terminal:
        """The first pty of the container whose pid 1 waits at its gate. Raises OSError."""
        return Terminal(loop, bundle, *terminal.open_pty(pid, ROWS, COLUMNS))

    def _move(self) -> None:
        """A bite of output; while the FIFO is full, the program has to wait as at any slow terminal."""
        if self._take() == "full":
            self._loop.change(self.master, 0)
            self._loop.at(time.monotonic() + REST, self._go_on)

    def _go_on(self) -> None:
        if self.master >= 0:
            self._loop.change(self.master, IN)
            self._move()

    def _take(self) -> Literal["moved", "full", "empty"]:
        try:
            if not self._unwritten:
                self._unwritten = os.read(self.master, READ)
        except OSError:  # EAGAIN; EIO where nobody has the other side open any more (pty(7))
            return "empty"
        try:
            self._unwritten = self._unwritten[os.write(self._fifo, self._unwritten) :]
        except BlockingIOError:
            return "full"
        return "full" if self._unwritten else "moved"

    def close(self, drain: Callable[[], None]) -> None:
        """To the last byte; `drain` empties the FIFO into the log."""
        while (state := self._take()) != "empty":
            if state == "full":
                drain()
        self._loop.forget(self.master)
        for descriptor in (self.master, self._slave, self._fifo):
            if descriptor >= 0:
                os.close(descriptor)
        self.master = -1
