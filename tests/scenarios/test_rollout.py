"""Roll-outs on the real kernel: nobody is refused while versions change, whatever dies on the way."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.scenarios.conftest import Pyorch

pytestmark = pytest.mark.root

ROUNDS = int(os.environ.get("PYORCH_ROUNDS", "6"))
AT_ONCE = 100  # open connections
SERVER = """
import http.server, os, socketserver

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = os.environ["V"].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size = True, 256

Server(("", 8000), Answer).serve_forever()
"""
WAITS = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
CHECK = "import socket; socket.create_connection(('127.0.0.1', 8000))"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def web(port: int, version: str, replicas: int, order: str = "start-first", more: str = "") -> str:
    return f"""
        name: roll
        services:
          web:
            image: host:/
            command: [python3, /server.py]
            environment: {{V: "{version}"}}
            volumes: [./server.py:/server.py:ro]
            ports: ["{port}:8000"]
            healthcheck: {{test: [CMD, python3, -c, "{CHECK}"], interval: 1s}}
            restart: always
            stop_grace_period: 2s
            x-pyorch: {{drain: 20s}}  # a slow machine needs longer for what it has accepted
            deploy: {{replicas: {replicas}, update_config: {{order: {order}, parallelism: 2{more}}}}}
    """


async def load(port: int, rate: int, until: asyncio.Event) -> collections.Counter[str]:
    """`rate` connections a second, each for one request; what came of them. Where the machine is too busy to answer so
    many, no more than AT_ONCE are open: the question is who fails, not how fast this machine is."""
    answers: collections.Counter[str] = collections.Counter()
    asking: set[asyncio.Task[None]] = set()

    async def ask() -> None:
        try:
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                said = await reader.read()
                writer.close()
            answers[said.rpartition(b"\r\n\r\n")[2].decode() if b" 200 " in said[:16] else f"bad: {said[:40]!r}"] += 1
        except OSError as error:
            answers[repr(error)] += 1

    began, asked = time.monotonic(), 0
    while not until.is_set():
        due = int((time.monotonic() - began) * rate)
        for _ in range(min(due - asked, AT_ONCE - len(asking))):
            task = asyncio.create_task(ask())
            asking.add(task)
            task.add_done_callback(asking.discard)
        asked = due
        await asyncio.sleep(0.005)
    await asyncio.gather(*asking)
    return answers


def test_ten_replicas_change_under_five_hundred_requests_a_second_and_none_fails(pyorch: Pyorch) -> None:
    port = free_port()
    (pyorch.directory / "server.py").write_text(SERVER)
    pyorch.up(web(port, "old", 10))
    pyorch.write(web(port, "new", 10))

    async def roll() -> collections.Counter[str]:
        over = asyncio.Event()
        loading = asyncio.create_task(load(port, 500, over))
        command = pyorch.command("up", "-d", "--wait", "stack.yaml")
        changing = await asyncio.create_subprocess_exec(*command, env=pyorch.environment, cwd=pyorch.directory)
        assert await changing.wait() == 0
        over.set()
        return await loading

    answers = asyncio.run(roll())
    assert answers.keys() == {"old", "new"}, answers
    assert len([row for row in pyorch.ps().values() if row["State"] == "running"]) == 10


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_agents_and_launchers_die_during_roll_outs_and_the_roll_out_goes_on(pyorch: Pyorch) -> None:
    port, chance = free_port(), random.Random(7)
    (pyorch.directory / "server.py").write_text(SERVER)
    pyorch.up(web(port, "v0", 3))
    for number in range(1, ROUNDS + 1):
        order = "start-first" if number % 2 else "stop-first"
        pyorch.write(web(port, f"v{number}", 3, order))
        pids = pyorch.status()
        with subprocess.Popen(
            pyorch.command("up", "-d", "stack.yaml"),
            env=pyorch.environment, cwd=pyorch.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as changing:  # fmt: skip
            assert changing.stdout is not None
            for _ in range(chance.randrange(1, 16)):
                changing.stdout.readline()
            for victim in chance.choice((("agent",), ("launcher",), ("agent", "launcher"))):
                pid = pids["pid"] if victim == "agent" else pids["launcher"]["pid"]
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            changing.communicate(timeout=30)
        pyorch.ok("up", "-d", "--wait", "stack.yaml")
        rows = [row for row in pyorch.ps().values() if row["State"] == "running"]
        assert len(rows) == 3, rows
        assert said(port) == f"v{number}"


def said(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as talk:
        talk.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := talk.recv(4096):
            answer += piece
    return answer.rpartition(b"\r\n\r\n")[2].decode()


def test_a_version_that_fails_is_taken_back_and_the_old_one_never_stopped_answering(pyorch: Pyorch) -> None:
    port = free_port()
    (pyorch.directory / "server.py").write_text(SERVER)
    action = ", failure_action: rollback, monitor: 5s"
    pyorch.up(web(port, "good", 2, more=action))
    bad = web(port, "bad", 2, more=action).replace("[python3, /server.py]", "[sh, -c, 'exit 3']")
    pyorch.write(bad)
    tried = pyorch.run("up", "-d", "--wait", "stack.yaml")
    assert tried.returncode == 1
    assert "taken back" in tried.stderr
    assert said(port) == "good"
    newest, failed, first = pyorch.lines("history", "--format", "json")
    assert (failed["Outcome"], first["Outcome"]) == ("taken back", "good")
    assert newest["Cause"].startswith("taken back: ")
    assert "exited 3" in failed["Why"]
    assert len([row for row in pyorch.ps().values() if row["State"] == "running"]) == 2


def test_canaries_wait_for_a_word(pyorch: Pyorch) -> None:
    def stack(version: str) -> str:
        return f"""
            name: can
            services:
              web:
                image: host:/
                command: {WAITS}
                environment: {{V: "{version}"}}
                deploy: {{replicas: 3}}
                x-pyorch: {{canary: 1}}
        """

    pyorch.up(stack("1"))
    before = {name: row["ID"] for name, row in pyorch.ps().items()}
    pyorch.up(stack("2"))
    after = {name: row["ID"] for name, row in pyorch.ps().items()}
    assert len(before.items() & after.items()) == 2
    pyorch.ok("agent", "stop")
    pyorch.ok("agent", "start")
    pyorch.ok("promote", "--wait")
    assert not before.items() & {name: row["ID"] for name, row in pyorch.ps().items()}.items()


def test_atomic_takes_every_service_back(pyorch: Pyorch) -> None:
    def stack(version: str, command: str) -> str:
        return f"""
            name: atom
            x-pyorch: {{atomic: true}}
            services:
              a: {{image: "host:/", command: {WAITS}, environment: {{V: "{version}"}}}}
              b: {{image: "host:/", command: {command}, environment: {{V: "{version}"}}}}
        """

    pyorch.up(stack("1", WAITS))
    pyorch.write(stack("2", "[sh, -c, 'exit 4']"))
    tried = pyorch.run("up", "-d", "--wait", "stack.yaml")
    assert tried.returncode == 1
    assert "exited 4" in tried.stderr
    pyorch.until(lambda: pyorch.lines("history", "--format", "json")[0]["Outcome"] == "good")
    assert "atom-a-1" in pyorch.ps()
    environment = Path(f"/proc/{pyorch.pid('atom-a-1')}/environ").read_bytes()
    assert b"V=1" in environment.split(b"\0")


def test_hooks_run_where_the_specification_says_and_a_job_runs_once_for_each_change(pyorch: Pyorch) -> None:
    def stack(job: str = "1", hook: str = "exit 0") -> str:
        return f"""
            name: hooks
            services:
              migrate:
                image: host:/
                command: [sh, -c, "echo ran >> /data/job"]
                environment: {{V: "{job}"}}
                volumes: [./data:/data]
                x-pyorch: {{job: once-per-change}}
              web:
                image: host:/
                command: {WAITS}
                depends_on: {{migrate: {{condition: service_completed_successfully}}}}
                volumes: [./data:/data]
                stop_grace_period: 2s
                pre_start:
                  - {{command: [sh, -c, "echo first >> /data/hooks"]}}
                  - {{command: [sh, -c, "echo second $$WHO >> /data/hooks"], environment: {{WHO: me}}}}
                post_start:
                  - {{command: [sh, -c, "echo post >> /data/hooks; {hook}"]}}
                pre_stop:
                  - {{command: [sh, -c, "echo stop >> /data/hooks"]}}
                deploy: {{replicas: 2}}
        """

    data = pyorch.directory / "data"
    data.mkdir()
    pyorch.up(stack())
    assert (data / "hooks").read_text().split("\n") == ["first", "second me", "post", "post", ""]
    pyorch.up(stack())
    assert (data / "job").read_text() == "ran\n"
    pyorch.up(stack(job="2"))
    assert (data / "job").read_text() == "ran\nran\n"
    pyorch.up(stack(job="2"), "--force-recreate")
    assert (data / "job").read_text() == "ran\nran\nran\n"
    pyorch.write(stack(job="2", hook="exit 127"))
    tried = pyorch.run("up", "-d", "--force-recreate", "stack.yaml")
    assert tried.returncode == 1
    assert "post_start hook exited with status 127" in tried.stderr
    pyorch.up(stack(job="2"))
    (data / "hooks").write_text("")
    pyorch.ok("down", "-t", "2")
    assert (data / "hooks").read_text().split().count("stop") == 2


def test_limits_change_on_the_living_container_and_a_plan_is_applied_only_over_what_it_was_made_for(
    pyorch: Pyorch,
) -> None:
    def stack(memory: str) -> str:
        return f"""
            name: live
            services:
              web:
                image: host:/
                command: {WAITS}
                deploy: {{resources: {{limits: {{memory: {memory}}}}}}}
        """

    pyorch.up(stack("64M"))
    pid = pyorch.pid("live-web-1")
    pyorch.write(stack("96M"))
    planned = pyorch.run("plan", "--out", "next.plan", "stack.yaml")
    assert planned.returncode == 2
    assert "~ web: in place" in planned.stdout
    assert "deploy.resources.limits.memory: 64M → 96M (stack.yaml:7)" in planned.stdout
    pyorch.ok("up", "-d", "--wait", "--plan", "next.plan")
    assert pyorch.pid("live-web-1") == pid
    config = (pyorch.bundle("live-web-1") / "config.json").read_text()
    assert '"limit": 100663296' in config
    again = pyorch.run("up", "-d", "--plan", "next.plan")
    assert again.returncode == 1
    assert "it was made over revision 1 of 'live', and it is at revision 2; plan again" in again.stderr
    assert pyorch.run("plan", "stack.yaml").returncode == 0
