"""A container of one's own (`run`), and the first process of a container as one's partner (`attach`, tty, stdin)."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import Pyorch, agent_of_its_own

pytestmark = pytest.mark.root

WAITS = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
STACK = f"""
    name: run
    services:
      db:
        image: host:/
        command: {WAITS}
        healthcheck: {{test: [CMD, "true"], interval: 200ms}}
      web:
        image: host:/
        command: {WAITS}
        environment: {{COLOUR: red, SIZE: big}}
        depends_on: {{db: {{condition: service_healthy}}}}
        ports: ["127.0.0.1:18321:80"]
        volumes: ["data:/data"]
      shell: {{image: "host:/", command: [sh], tty: true, stdin_open: true}}
      echo: {{image: "host:/", command: [sh, -c, "while read x; do echo got $$x; done"], stdin_open: true}}
    volumes: {{data: {{}}}}
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Pyorch]:
    with agent_of_its_own(lambda name, text: print(f"--- {name}\n{text}")) as pyorch:
        pyorch.write(STACK)
        yield pyorch


def typed(stack: Pyorch, words: list[str], steps: list[tuple[bytes, bytes]]) -> tuple[str, int]:
    """A command on a terminal: each step waits for what is to be seen, then types. (all that was seen, exit code)"""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(stack.directory)
        os.execvpe(stack.command()[0], stack.command(*words), stack.environment)
    seen = b""
    if steps[0][0] == b"":
        os.write(terminal, steps.pop(0)[1])
    try:
        while select.select([terminal], [], [], 30)[0]:
            if steps and steps[0][0] in seen:
                os.write(terminal, steps.pop(0)[1])
            try:
                data = os.read(terminal, 4096)
            except OSError:  # EIO: it has ended (pty(7))
                break
            seen += data
            if steps and steps[0][0] in seen:
                os.write(terminal, steps.pop(0)[1])
    finally:
        os.close(terminal)
    return seen.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_run_brings_up_what_it_needs_and_ends_with_its_exit_code(stack: Pyorch) -> None:
    done = stack.run("run", "--rm", "-e", "SIZE=small", "web", "sh", "-c", "echo $COLOUR $SIZE; echo oops >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "red small\n")
    assert "oops\n" in done.stderr
    rows = stack.ps()
    assert set(rows) == {"run-db-1"}, "neither a replica of web nor the container of the run is there"
    assert rows["run-db-1"]["Health"] == "healthy"


def test_what_is_piped_in_ends_where_our_stdin_ends(stack: Pyorch) -> None:
    text = "".join(f"line {number}\n" for number in range(20_000))
    assert stack.ok("run", "--rm", "-q", "-T", "web", "cat", input=text) == text


def test_a_run_has_the_volumes_and_the_names_of_its_service_but_neither_its_ports_nor_its_name(stack: Pyorch) -> None:
    stack.ok("run", "--rm", "web", "sh", "-c", "echo kept > /data/file")
    (stack.directory / "more").mkdir()
    look = "cat /data/file; getent hosts db; ls -d /more"
    said = stack.ok("run", "--rm", "-v", "./more:/more:ro", "web", "sh", "-c", look)
    assert said.startswith("kept\n")
    assert said.endswith("/more\n")
    assert "db" in said
    detached = stack.ok("run", "-d", "--name", "my-run", "-p", "127.0.0.1:18322:80", "web", "sleep", "1000").strip()
    row = stack.ps()[detached]
    assert detached == "my-run"
    assert [p["PublishedPort"] for p in row["Publishers"]] == [18322]
    assert stack.run("exec", "-T", "db", "getent", "hosts", "web").returncode == 2
    assert stack.ok("exec", "-T", "db", "getent", "hosts", "my-run").split()[0] in row["Addresses"].values()
    assert "my-run" not in stack.ok("ps"), "as in docker compose it is shown with -a"


def test_a_run_outlives_the_agent_and_is_removed_at_its_end(stack: Pyorch) -> None:
    name = stack.ok("run", "-d", "--rm", "web", "sh", "-c", "while ! test -e /data/end; do sleep 0.05; done").strip()
    stack.ok("agent", "stop")
    stack.ok("agent", "start")
    assert stack.ps()[name]["State"] == "running"
    stack.ok("run", "--rm", "web", "touch", "/data/end")
    stack.until(lambda: name not in stack.ps())


def test_our_signals_are_the_container_s(stack: Pyorch) -> None:
    said = "trap 'echo heard; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        stack.command("run", "--rm", "-q", "-T", "web", "sh", "-c", said),
        cwd=stack.directory, env=stack.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "heard\n"
        assert process.wait(20) == 9


def test_on_a_terminal_a_run_has_one(stack: Pyorch) -> None:
    said = "tty; read word; echo got $word; exit 5"
    seen, code = typed(stack, ["run", "--rm", "-q", "web", "sh", "-c", said], [(b"/dev/pts/0", b"typed\n")])
    assert "got typed" in seen
    assert code == 5


def test_attach_talks_to_a_shell_and_leaves_it_running(stack: Pyorch) -> None:
    stack.ok("up", "-d", "shell")
    pid = stack.pid("run-shell-1")
    asked = b"echo sum $((40+2)); tty\n"
    seen, code = typed(stack, ["attach", "shell"], [(b"", asked), (b"/dev/pts/0\r\n", b"\x10\x11")])
    assert "sum 42" in seen
    assert code == 0
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/pts/0"
    assert "sum 42" in stack.ok("logs", "shell"), "what it said is in its log"


def test_a_terminal_outlives_the_launcher_and_the_agent(stack: Pyorch) -> None:
    stack.ok("up", "-d", "shell")
    pid = stack.pid("run-shell-1")
    for number, daemon in enumerate(("launcher", "agent")):
        before = stack.status()["launcher"]["pid"]
        if daemon == "launcher":
            os.kill(before, signal.SIGKILL)
            stack.until(lambda before=before: stack.status()["launcher"]["pid"] not in (None, before))
        else:
            stack.ok("agent", "stop")
            stack.ok("agent", "start")
        asked = f"echo answer $((10+{number}))\n".encode()
        seen, _ = typed(stack, ["attach", "shell"], [(b"", asked), (f"answer {10 + number}".encode(), b"\x10\x11")])
        assert f"answer {10 + number}" in seen
    assert stack.pid("run-shell-1") == pid


def test_stdin_open_waits_for_who_attaches(stack: Pyorch) -> None:
    stack.ok("up", "-d", "echo")
    with subprocess.Popen(
        stack.command("attach", "echo"), cwd=stack.directory, env=stack.environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("one\n")
        process.stdin.flush()
        assert process.stdout.readline() == "got one\n"
        process.kill()
    assert stack.ps()["run-echo-1"]["State"] == "running", "its stdin has no end"


def test_runs_go_with_their_stack(pyorch: Pyorch) -> None:
    pyorch.write(f"name: g\nservices: {{a: {{image: 'host:/', command: {WAITS}}}}}\n")
    pyorch.ok("run", "-d", "a", "sleep", "1000")
    pyorch.ok("down", "-t", "1")
    assert pyorch.lines("ls", "--all", "--format", "json") in ([], [[]])
    assert not list(Path(pyorch.root.bundles).glob("*/container.json"))


def test_what_the_service_does_not_need_does_not_stand_in_the_way(pyorch: Pyorch) -> None:
    pyorch.write("""
        name: need
        services:
          free: {image: "host:/", command: ["true"]}
          broken: {image: "host:/", command: ["false"]}
          held: {image: "host:/", command: ["true"], depends_on: {broken: {condition: service_completed_successfully}}}
        """)
    pyorch.run("up", "-d")
    assert pyorch.ok("run", "--rm", "-T", "free", "echo", "hi") == "hi\n"
    assert pyorch.run("run", "--rm", "-T", "held", "echo", "hi").returncode != 0
    assert pyorch.ok("run", "--rm", "-T", "--no-deps", "held", "echo", "hi") == "hi\n"
