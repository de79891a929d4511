"""kill -9 of agent, launcher and name server at random moments while a stack changes: round after round it becomes what
is asked, nothing is lost, doubled or left behind, and the history tells what was.

PYORCH_ROUNDS=200 plays two hundred rounds; PYORCH_SEED=N begins with another seed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import leaks
from tests.scenarios.conftest import Pyorch

pytestmark = pytest.mark.root

ROUNDS = int(os.environ.get("PYORCH_ROUNDS", "5"))
SEED = int(os.environ.get("PYORCH_SEED", "7"))
WAITS = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
SERVES = "mkdir /w; echo $$V > /w/index.html; exec python3 -m http.server -d /w 8000"
CHECK = "import socket; socket.create_connection(('127.0.0.1', 8000))"


class Asked:
    """What the stack file says, and how a round changes it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.port = free_port()
        self.version, self.replicas, self.order = 0, 3, "start-first"
        self.motd, self.extra = 0, False

    def change(self) -> None:
        self.order = self.chance.choice(("start-first", "stop-first"))
        match self.chance.choice(("version", "version", "replicas", "config", "extra")):
            case "version":
                self.version += 1
            case "replicas":
                self.replicas = self.chance.choice([n for n in (1, 2, 3, 4) if n != self.replicas])
            case "config":
                self.motd += 1
            case "extra":
                self.extra = not self.extra

    def names(self) -> set[str]:
        services = ["db", "worker", *(["extra"] if self.extra else [])]
        return {f"kills-{name}-1" for name in services}

    def text(self) -> str:
        extra = f"extra: {{image: 'host:/', command: {WAITS}, restart: always}}" if self.extra else ""
        return f"""
            name: kills
            services:
              db:
                image: host:/
                command: {WAITS}
                volumes: [data:/data]
                restart: always
                stop_grace_period: 1s
              migrate:
                image: host:/
                command: [sh, -c, "echo {self.version} >> /data/migrations"]
                volumes: [data:/data]
                depends_on: [db]
              web:
                image: host:/
                command: [sh, -c, "{SERVES}"]
                environment: {{V: "v{self.version}"}}
                ports: ["{self.port}:8000"]
                healthcheck: {{test: [CMD, python3, -c, "{CHECK}"], interval: 1s}}
                depends_on: {{migrate: {{condition: service_completed_successfully}}}}
                restart: always
                stop_grace_period: 1s
                stop_signal: SIGINT
                deploy: {{replicas: {self.replicas}, update_config: {{order: {self.order}, parallelism: 2}}}}
              worker:
                image: host:/
                command: {WAITS}
                configs: [{{source: motd, target: /motd}}]
                depends_on: [db]
                restart: always
                stop_grace_period: 1s
              {extra}
            volumes: {{data: {{}}}}
            configs: {{motd: {{content: "day {self.motd}"}}}}
        """


@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_whoever_dies_while_a_stack_changes_it_becomes_what_is_asked(pyorch: Pyorch) -> None:
    chance = random.Random(SEED)
    asked = Asked(chance)
    pyorch.up(asked.text())
    for number in range(1, ROUNDS + 1):
        asked.change()
        pyorch.write(asked.text())
        pids = pyorch.status()
        pids = {"agent": pids["pid"], "launcher": pids["launcher"]["pid"], "dns": pids["dns"]["pid"]}
        told = chance.choice((0, 0, 1, 2, 3, 4, 5, 6, 8, 10, 12))
        victims = chance.choice((["agent"], ["launcher"], ["agent", "launcher"], ["agent", "dns"], ["launcher", "dns"]))
        print(f"round {number}: {', '.join(victims)} killed after {told} lines, {vars(asked)}")
        with up(pyorch) as changing:
            assert changing.stdout is not None
            for _ in range(told):
                changing.stdout.readline()  # nothing more where all is done: they die at rest then
            for victim in victims:
                with contextlib.suppress(ProcessLookupError):
                    kill(pids[victim])
            changing.communicate(timeout=60)
        pyorch.ok("up", "-d", "--wait", "--remove-orphans", "stack.yaml")
        look(pyorch, asked)
    tell(pyorch)


def up(pyorch: Pyorch) -> subprocess.Popen[str]:
    """What it tells, line by line: the moments at which somebody dies."""
    command = pyorch.command("up", "-d", "--remove-orphans", "stack.yaml")
    told: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=pyorch.environment, cwd=pyorch.directory, **told)


def kill(pid: int) -> None:
    """Until it is dead: who is still ending, in the middle of a write to the disk, takes a connection and drops it."""
    held = os.pidfd_open(pid)
    signal.pidfd_send_signal(held, signal.SIGKILL)
    select.select([held], [], [])
    os.close(held)


def look(pyorch: Pyorch, asked: Asked) -> None:
    """What runs is what is asked: told by the agent, by the files and by the kernel alike; and it answers."""
    rows = {name: row for name, row in pyorch.ps().items() if row["State"] == "running"}
    webs = [name for name in rows if name.startswith("kills-web-")]
    assert rows.keys() - set(webs) == asked.names()
    assert len(webs) == asked.replicas, webs
    assert said(asked.port) == f"v{asked.version}\n"
    motd = Path(f"/proc/{pyorch.pid('kills-worker-1')}/root/motd").read_text()
    assert motd == f"day {asked.motd}"
    ids = {row["ID"] for row in rows.values()}
    every = {row["ID"] for row in pyorch.ps().values()}
    try:
        pyorch.until(lambda: kernel(pyorch) == (ids, len(ids), every))
    except AssertionError as error:
        seen = "\n".join(sorted(leaks.snapshot(pyorch.root)))
        raise AssertionError(f"{kernel(pyorch)} is not {(ids, len(ids), every)}\n{seen}") from error
    assert json.loads(pyorch.run("plan", "-o", "json", "stack.yaml").stdout)["changes"] is False


def kernel(pyorch: Pyorch) -> tuple[set[str], int, set[str]]:
    """(containers that have a process, links of containers, containers that have a mount)."""
    seen = leaks.snapshot(pyorch.root)
    running = set()
    for process in Path("/proc").glob("[0-9]*"):
        group = leaks._read(process / "cgroup")
        if (found := group.partition(f"/{pyorch.root.cgroup}/")[2]) and len(found) >= 12:
            running.add(found[:12])
    links = [
        line for line in seen if line.startswith("link ") and not line.startswith(f"link po{pyorch.root.instance}")
    ]
    points = [line.removeprefix("mount ") for line in seen if line.startswith("mount ")]
    mounted = {
        part for point in points for part in point.split("/") if len(part) == 12 and not part.strip("0123456789abcdef")
    }
    return running, len(links), mounted | {path.name for path in Path(pyorch.root.bundles).iterdir()}


def tell(pyorch: Pyorch) -> None:
    """Revisions are numbered without a gap; the newest is good once it has run for a while, and whatever runs was
    started, and died no later."""
    pyorch.until(lambda: history(pyorch)[0]["Outcome"] == "good")
    revisions = history(pyorch)
    numbers = [row["Revision"] for row in revisions]
    assert numbers == list(range(numbers[0], numbers[0] - len(numbers), -1))
    assert all(row["Outcome"] in ("good", "overtaken") for row in revisions), revisions
    events = pyorch.lines("events", "--json", "--no-follow", "--since", "0")
    lives = Counter(
        (event["attributes"].get("id"), event["action"]) for event in events if event["type"] == "container"
    )
    for row in pyorch.ps().values():
        if row["State"] == "running":
            assert lives[row["ID"], "start"] == lives[row["ID"], "die"] + 1, row


def history(pyorch: Pyorch) -> list[dict[str, Any]]:
    told = pyorch.lines("history", "--format", "json")
    return told[0] if told and isinstance(told[0], list) else told


def said(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as talk:
        talk.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := talk.recv(4096):
            answer += piece
    return answer.rpartition(b"\r\n\r\n")[2].decode()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
