"""A process is held by pid and start time together."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from orchestrator.kernel import pidfd


def test_a_process_is_known_by_when_it_began() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        began = pidfd.start_time(sleeper.pid)
        assert began is not None
        with pytest.raises(ProcessLookupError, match="another one has its number"):
            pidfd.hold(sleeper.pid, began + 1)
        held = pidfd.hold(sleeper.pid, began)
        assert pidfd.signal(held, signal.SIGKILL)
        assert sleeper.wait() == -signal.SIGKILL
        assert not pidfd.signal(held, signal.SIGKILL)
        os.close(held)


def test_nobody_has_pid_zero() -> None:
    assert pidfd.start_time(0) is None


def test_a_signal_that_does_not_exist_is_an_error() -> None:
    held = pidfd.hold(os.getpid())
    with pytest.raises(OSError, match="cannot send signal 99: Invalid argument"):
        pidfd.signal(held, 99)
    os.close(held)
