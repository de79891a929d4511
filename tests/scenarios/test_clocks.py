"""A machine that slept, an agent that stood still: nothing is restarted for it, and what was to end has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.scenarios.conftest import COMMAND, Pyorch

pytestmark = pytest.mark.root

WAITS = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
TICKS = "trap 'exit 0' TERM; touch /ok; while :; do echo >> /ticks; sleep 0.2 & wait; done"


def test_checks_that_fail_right_after_a_standstill_restart_nothing(pyorch: Pyorch) -> None:
    pyorch.up(f"""
        name: still
        services:
          web:
            image: host:/
            command: [sh, -c, "{TICKS}"]
            restart: always
            stop_grace_period: 1s
            healthcheck: {{test: [CMD-SHELL, "echo >> /asked; test -e /ok"], interval: 100ms, retries: 2}}
    """)
    pid, agent = pyorch.pid("still-web-1"), pyorch.status()["pid"]
    inside = f"/proc/{pid}/root"
    size = lambda name: os.stat(f"{inside}/{name}").st_size  # noqa: E731
    asked = lambda: size("asked")  # noqa: E731
    before = size("ticks")
    os.kill(agent, signal.SIGSTOP)
    try:
        pyorch.until(lambda: size("ticks") > before + 30)  # six seconds and more: the container goes on
        os.unlink(f"{inside}/ok")
    finally:
        os.kill(agent, signal.SIGCONT)
    had = asked()
    pyorch.until(lambda: asked() > had + 10)  # five times what would condemn it
    assert (pyorch.pid("still-web-1"), pyorch.ps()["still-web-1"]["Health"]) == (pid, "healthy")
    told = [event for event in pyorch.lines("events", "--since", "1h", "--no-follow", "--json")
            if event["action"] == "gap"]  # fmt: skip
    assert len(told) == 1
    open(f"{inside}/ok", "w").close()
    had = asked()
    pyorch.until(lambda: asked() > had + 3)
    assert pyorch.pid("still-web-1") == pid


def test_a_suspension_ends_on_time_though_the_machine_slept(pyorch: Pyorch) -> None:
    """The machine cannot be put to sleep here; to an agent in a time namespace of its own (time_namespaces(7)) it has
    slept for an hour and a half: CLOCK_BOOTTIME is further, CLOCK_MONOTONIC is not."""
    pyorch.up(f"""
        name: rest
        services: {{web: {{image: "host:/", command: {WAITS}, restart: always}}}}
    """)
    pid = pyorch.pid("rest-web-1")
    pyorch.ok("suspend", "web", "--for", "1h")
    pyorch.ok("agent", "stop")
    command = ["unshare", "--time", "--boottime", "5400", "--fork", COMMAND, "agent", "run"]
    agent = subprocess.Popen(command, env=pyorch.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        pyorch.until(lambda: pyorch.run("ls").returncode == 0)
        standing = json.loads(pyorch.run("status", "--format", "json").stdout)
        assert standing["Services"][0]["Suspended"] == ""
        assert pyorch.pid("rest-web-1") == pid  # and that was all that its sleep did
        os.kill(pid, signal.SIGKILL)
        pyorch.until(lambda: pyorch.ps()["rest-web-1"]["State"] == "running" and pyorch.pid("rest-web-1") != pid)
    finally:
        pyorch.ok("agent", "stop")
        agent.wait(10)
