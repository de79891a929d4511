"""The processes that unpack layers and run steps: what is asked of them when they are killed."""

from __future__ import annotations

import os
import signal

import pytest

from orchestrator.errors import HostRefused
from orchestrator.images.unpackers import Unpackers


def test_who_asks_a_killed_process_is_told_so_and_nobody_waits_for_ever() -> None:
    hands = Unpackers(2, {"pid": lambda task, say: {"pid": os.getpid()}, "die": lambda task, say: os.abort()})
    try:
        first = hands.do({"deed": "pid"})["pid"]
        with pytest.raises(HostRefused, match="the process that was to die was killed"):
            hands.do({"deed": "die"})
        rest = {hands.do({"deed": "pid"})["pid"] for _ in range(3)}
        assert len(rest) == 1, "the other one goes on"
        os.kill(rest.pop(), signal.SIGKILL)
        with pytest.raises(HostRefused, match="was killed"):
            hands.do({"deed": "pid"})
        with pytest.raises(HostRefused, match="all processes that could pid were killed"):
            hands.do({"deed": "pid"})
        assert first
    finally:
        hands.close()
