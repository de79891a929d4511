"""An agent that is just ending: whoever comes then is heard by the next one."""

from __future__ import annotations

import os
import signal

import pytest

from .conftest import Pyorch

ROUNDS = 10
STACK = "name: dying\nservices:\n  a: {image: 'host:/', command: [sleep, infinity]}\n"


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_who_meets_an_ending_agent_is_heard_by_the_next(pyorch: Pyorch, ending: signal.Signals) -> None:
    pyorch.write(STACK)
    pyorch.ok("up", "-d", "--wait")
    container = pyorch.ok("ps", "-q")
    for number in range(ROUNDS):
        old = pyorch.status()["pid"]
        os.kill(old, ending)
        pyorch.ok(*(("agent", "start"), ("up", "-d", "--wait"))[number % 2])
        assert pyorch.status()["pid"] != old
    assert pyorch.ok("ps", "-q") == container


def test_an_agent_does_not_take_the_root_of_one_that_answers(pyorch: Pyorch) -> None:
    pyorch.ok("agent", "start")
    pid = pyorch.status()["pid"]
    second = pyorch.run("agent", "run")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == f"pyorch: cannot run the agent: another one (pid {pid}) has {pyorch.root.directory}\n"
    assert pyorch.status()["pid"] == pid
