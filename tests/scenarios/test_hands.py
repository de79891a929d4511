"""Commands that take containers in hand: kill, pause, rm, scale, wait, top, stats, port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import Pyorch, agent_of_its_own

pytestmark = pytest.mark.root

STACK = """
    name: hands
    services:
      ticks:
        image: host:/
        command: [sh, -c, "trap 'echo heard' HUP; i=0; while :; do i=$$((i+1)); echo $$i > /tmp/i; sleep 0.01; done"]
        restart: always
        stop_signal: KILL
        ports: ["127.0.0.1:18311:80", "127.0.0.1:18311:80/udp"]
        healthcheck: {test: [CMD, "true"], interval: 100ms}
      job:
        image: host:/
        command: [sh, -c, "while ! test -e /tmp/end; do sleep 0.02; done; exit 7"]
        restart: "no"
        stop_signal: KILL
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Pyorch]:
    with agent_of_its_own(lambda name, text: print(f"--- {name}\n{text}")) as pyorch:
        pyorch.up(STACK)
        yield pyorch


def ticks(stack: Pyorch) -> str:
    """How far it has come: seen from outside, for nothing can be run in what stands still."""
    return Path(f"{stack.root.container(stack.ps()['hands-ticks-1']['ID'])}/upper/tmp/i").read_text()


def test_what_is_paused_stands_still_and_goes_on_where_it_stood(stack: Pyorch) -> None:
    pid = stack.ps()["hands-ticks-1"]["Pid"]
    stack.ok("pause", "ticks")
    row = stack.ps()["hands-ticks-1"]
    assert (row["State"], "(Paused)" in row["Status"]) == ("paused", True)
    before = ticks(stack)
    refused = stack.run("exec", "-T", "ticks", "true")
    assert refused.returncode == 1
    assert "it is paused" in refused.stderr
    stack.ok("agent", "stop")
    stack.ok("agent", "start")
    assert stack.ps()["hands-ticks-1"]["State"] == "paused", "a new agent knows it"
    assert ticks(stack) == before
    stack.ok("unpause", "ticks")
    assert stack.until(lambda: ticks(stack) != before)
    row = stack.ps()["hands-ticks-1"]
    assert (row["State"], row["Pid"], row["Restarts"]) == ("running", pid, 0)


def test_what_is_paused_can_be_stopped(stack: Pyorch) -> None:
    stack.ok("pause", "ticks")
    stack.ok("stop", "ticks")
    assert stack.ps()["hands-ticks-1"]["State"] == "exited"
    stack.ok("start", "ticks")


def test_a_signal_is_heard_and_sigkill_ends_it_for_good(stack: Pyorch) -> None:
    stack.ok("kill", "-s", "HUP", "ticks")
    stack.until(lambda: "heard" in stack.ok("logs", "--no-log-prefix", "ticks"))
    stack.ok("kill", "ticks")
    assert stack.ps()["hands-ticks-1"]["State"] == "exited"
    assert stack.run("plan", "stack.yaml").returncode == 2, "only an up brings it back"
    stack.ok("start", "ticks")


def test_top_shows_the_processes_and_stats_what_they_use(stack: Pyorch) -> None:
    head, *rows = stack.ok("top", "ticks").splitlines()
    assert head.split() == ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert any(f" {stack.pid('hands-ticks-1')} " in row and "trap" in row for row in rows)
    used = json.loads(stack.ok("stats", "--no-stream", "--format", "json", "ticks"))
    assert used["Name"] == "hands-ticks-1"
    assert float(used["CPUPerc"].rstrip("%")) > 0
    assert int(used["PIDs"]) >= 1
    assert used["MemUsage"].split()[0] != "0B"


def test_port_says_where_it_is_published(stack: Pyorch) -> None:
    assert stack.ok("port", "ticks", "80") == "127.0.0.1:18311\n"
    assert stack.ok("port", "--protocol", "udp", "ticks", "80") == "127.0.0.1:18311\n"
    assert "no port 81/tcp" in stack.run("port", "ticks", "81").stderr


def test_scale_sets_the_number_and_touches_nothing_else(stack: Pyorch) -> None:
    before = stack.ps()["hands-ticks-1"]["ID"]
    stack.ok("scale", "ticks=3")
    assert {name for name in stack.ps() if "ticks" in name} == {"hands-ticks-1", "hands-ticks-2", "hands-ticks-3"}
    stack.ok("scale", "ticks=1")
    stack.until(lambda: {name for name in stack.ps() if "ticks" in name} == {"hands-ticks-1"})
    assert stack.ps()["hands-ticks-1"]["ID"] == before


def test_wait_ends_with_the_code_of_what_it_waited_for_and_rm_takes_it_away(stack: Pyorch) -> None:
    stack.ok("exec", "-d", "job", "sh", "-c", "sleep 0.2; touch /tmp/end")
    waited = stack.run("wait", "job")
    assert (waited.returncode, waited.stdout) == (7, 'container "hands-job-1" exited with status code 7\n')
    assert stack.run("rm", "job", input="n\n").stdout.startswith("Going to remove hands-job-1")
    assert "hands-job-1" in stack.ps()
    stack.ok("rm", "-f")
    rows = stack.ps()
    assert set(rows) == {"hands-ticks-1"}, "what runs stays, what was removed does not come back by itself"
    stack.ok("rm", "-fs", "ticks")
    assert stack.ps() == {}
    assert "no stopped containers" in stack.run("rm", "-f").stderr


def test_a_restart_without_dependents_is_not_followed(pyorch: Pyorch) -> None:
    waits = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
    pyorch.up(
        f"""
        name: f
        services:
          db: {{image: "host:/", command: {waits}}}
          web: {{image: "host:/", command: {waits}, depends_on: {{db: {{condition: service_started, restart: true}}}}}}
        """
    )
    before = pyorch.ps()
    pyorch.ok("restart", "--no-deps", "db")
    after = pyorch.ps()
    assert after["f-db-1"]["Pid"] != before["f-db-1"]["Pid"]
    assert after["f-web-1"]["Pid"] == before["f-web-1"]["Pid"]
    assert pyorch.run("plan", "stack.yaml").returncode == 0, "and nothing more is due"
    pyorch.ok("restart", "db")
    pyorch.until(lambda: pyorch.ps()["f-web-1"]["Pid"] not in (0, before["f-web-1"]["Pid"]))
