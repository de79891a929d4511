"""A conversation without a terminal, in which our signals become the container's."""

from __future__ import annotations

import _socket
import json
import os
import signal

from orchestrator.cli.streams import SIGNAL, converse, frame

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def converse_with_signals(connection: _socket.socket, said: bytes, *, stdin: bool = True) -> int:
    """Returns the exit code of the container's first process, which hears every signal that we get."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def heard() -> bytes:
        names = [signal.Signals(number).name for number in os.read(woken, 512)]
        return b"".join(frame(SIGNAL, json.dumps({"signal": name}).encode()) for name in names)

    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in PASSED_ON:
        signal.signal(number, lambda *_: None)
    try:
        return converse(connection, said, wake=woken, woken=heard, stdin=stdin)
    finally:
        signal.set_wakeup_fd(-1)
        os.close(woken)
        os.close(wake)
