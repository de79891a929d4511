"""What a person is told of a failure: `pyorch why`, the card of a failed `up`, and the record behind both."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.scenarios.conftest import Pyorch

pytestmark = pytest.mark.root

FAILS = """
    name: ills
    services:
      crash:
        image: host:/
        command: [sh, -c, "echo cannot open the store; exit 3"]
        restart: "on-failure:1"
      greedy: {image: "host:/", command: [sh, -c, "tail /dev/zero; exit $$?"], mem_limit: 20m}
      sick:
        image: host:/
        command: [sleep, "1000"]
        stop_grace_period: 0s
        healthcheck: {test: [CMD-SHELL, "echo no answer; exit 1"], interval: 200ms, retries: 2}
      web: {image: "host:/", command: [sleep, "1000"], depends_on: {sick: {condition: service_healthy}}}
"""


def told(pyorch: Pyorch, service: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pyorch.run("why", service, "--format", "json").stdout)
    return found


def test_the_root_of_each_failure_is_named_with_what_to_do(pyorch: Pyorch) -> None:
    pyorch.write(FAILS)
    tried = pyorch.run("up", "-d", "--wait", "--wait-timeout", "8", "stack.yaml")
    assert tried.returncode == 1
    card = tried.stderr.replace("    ", " ")
    assert "cannot open the store" in card
    assert "web (needs sick healthy)" in card
    assert "out of memory (killed at its limit): the limit is 20" in card
    assert "pyorch -p ills why crash" in card

    crash = told(pyorch, "crash")
    assert crash["chain"][0]["why"] == "gave up: restarted once (at most 1), last exited 3"
    assert crash["log"][-1] == "cannot open the store"
    assert crash["last_well"] is None, "it never ran long enough to be called well"
    assert crash["next"] == "nothing by itself: put right what ails crash, then 'pyorch up'"
    assert "out of memory" in told(pyorch, "greedy")["chain"][0]["why"]
    web = told(pyorch, "web")
    assert [link["service"] for link in web["chain"]] == ["web", "sick"]
    assert web["root"] == "sick"
    assert "no answer" in json.dumps(web)


def test_no_room_is_told_with_what_would_fit(pyorch: Pyorch) -> None:
    pyorch.write("""
        name: room
        services:
          app: {image: "host:/", command: [sleep, "9"], deploy: {resources: {reservations: {memory: 900g}}}}
    """)
    assert pyorch.run("up", "-d", "--wait", "--wait-timeout", "1", "stack.yaml").returncode == 1
    assert "needs 900 GiB" in told(pyorch, "app")["chain"][0]["why"]
    assert "would fit: lower app memory" in told(pyorch, "app")["chain"][0]["why"]


def test_the_record_is_bounded_by_the_times_asked_for_and_outlives_a_killed_agent(pyorch: Pyorch) -> None:
    pyorch.up("""
        name: past
        services: {app: {image: "host:/", command: [sleep, "1000"], stop_grace_period: 0s}}
    """)
    before = pyorch.lines("events", "--no-follow", "--since", "0", "--format", "json")
    moment = before[-1]["timeNano"] / 1e9 + 1e-3  # after the last of them, in what a text of microseconds can say
    pyorch.ok("stop")
    after = pyorch.lines("events", "--no-follow", "--since", "0", "--format", "json")
    assert len(after) > len(before)
    assert pyorch.lines("events", "--since", "0", "--until", f"{moment:.6f}", "--format", "json") == before
    assert {event["action"] for event in after[len(before) :]} >= {"stop", "die"}
    os.kill(pyorch.status()["agent"]["pid"], signal.SIGKILL)
    pyorch.ok("agent", "start")
    kept = pyorch.lines("events", "--no-follow", "--since", "0", "--format", "json")
    assert kept[: len(before)] == before
    then = json.loads(pyorch.ok("state", "--at", f"{moment:.6f}", "--format", "json"))
    assert [(row["name"], row["state"]) for row in then["containers"]] == [("past-app-1", "running")]
    assert then["revision"] == "revision 1"
    assert json.loads(pyorch.ok("state", "--at", "1000", "--format", "json"))["known_since"] is None
