"""`exec` on a terminal: our own one raw, so that every key is the container's, and its size kept equal to ours."""

from __future__ import annotations

import _socket
import json
import os
import signal
import termios
import tty
from types import FrameType
from typing import NoReturn

from orchestrator.cli.streams import RESIZE, converse, frame


def converse_raw(connection: _socket.socket, said: bytes, *, leave: bytes = b"", now: bool = False) -> int:
    """Returns the command's exit code; the terminal is as it was, whatever happened.

    `leave`: keys that end the conversation; `now`: its terminal gets our size at once.
    """
    before = termios.tcgetattr(0)
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def resized() -> bytes:
        os.read(woken, 512)
        columns, rows = os.get_terminal_size(1)
        return frame(RESIZE, json.dumps({"rows": rows, "cols": columns}).encode())

    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGWINCH, lambda *_: None)  # its byte in the pipe is all that is wanted of it
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)
    try:
        tty.setraw(0, termios.TCSADRAIN)  # what was typed already is kept
        if now:
            os.write(wake, b"\0")
        return converse(connection, said, wake=woken, woken=resized, leave=leave)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(-1)
        os.close(woken)
        os.close(wake)


def _end(number: int, _: FrameType | None) -> NoReturn:
    """Ends us by way of the `finally` above: a terminal left raw is of no use to anybody."""
    raise SystemExit(128 + number)
