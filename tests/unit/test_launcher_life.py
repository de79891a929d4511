"""The launcher as a process: births, deaths, output, exec, adoption. On a runtime without namespaces."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from plain_launcher import PlainLauncher

from orchestrator.agent.launcher_client import held_output
from orchestrator.errors import Missing, OrchestratorError, Unreachable


@pytest.fixture
def launcher() -> Iterator[PlainLauncher]:
    directory = tempfile.mkdtemp(prefix="po-l-")
    launcher = PlainLauncher(directory)
    yield launcher
    print(launcher.own_log())  # shown where a test fails
    launcher.close()
    shutil.rmtree(directory)


def test_a_container_is_born_waits_runs_and_its_end_is_told(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        launcher.bundle("a", "sh", "-c", "echo $GREETING; echo trouble >&2; exit 7")
        reply = await client.request("create", container="a")
        assert launcher.file("a", "state.json")["status"] == "created"
        assert (await client.request("hello"))["containers"] == [{"id": "a", "pid": reply["pid"], "status": "created"}]
        await client.request("start", container="a")
        event = await launcher.ended("a")
        assert (event["code"], event["signal"], event["oom"]) == (7, None, False)
        assert launcher.file("a", "exit.json") == {k: event[k] for k in ("code", "signal", "oom", "started", "at")}
        assert not launcher.has("a", "state.json")
        assert sorted(launcher.log("a").splitlines()) == [b"hello", b"trouble"]

    asyncio.run(story())


def test_a_failed_sandbox_and_a_missing_command_are_sentences_and_leave_nothing(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        launcher.bundle("a", "true", fail="cannot mount: no such directory")
        with pytest.raises(OrchestratorError, match="cannot mount: no such directory"):
            await client.request("create", container="a")
        launcher.bundle("b", "no-such-command")
        await client.request("create", container="b")
        with pytest.raises(OrchestratorError, match="cannot start: command 'no-such-command'"):
            await client.request("start", container="b")
        assert (await client.request("hello"))["containers"] == []
        assert not any(launcher.has(name, file) for name in "ab" for file in ("state.json", "exit.json"))
        assert launcher.events == []

    asyncio.run(story())


def test_what_is_written_just_before_the_end_is_in_the_log_before_the_end_is_told(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        for number in range(20):
            await launcher.run(client, "a", "sh", "-c", f"echo {number}; kill -9 $$")
            assert (await launcher.ended("a"))["signal"] == signal.SIGKILL
            assert launcher.log("a").splitlines() == [b"%d" % each for each in range(number + 1)]

    asyncio.run(story())


def test_many_births_are_pipelined(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        names = [launcher.bundle(f"c{number}", "sleep", "1000") for number in range(30)]
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(client.request("create", container=name))
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(client.request("start", container=name))
        rows = (await client.request("hello"))["containers"]
        assert [row["status"] for row in rows] == ["running"] * 30
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(client.request("delete", container=name))
        assert (await client.request("hello"))["containers"] == []
        assert not any(launcher.has(name, "stdout") for name in names)

    asyncio.run(story())


def test_delete_of_a_waiting_container_ends_it_without_an_exit(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        launcher.bundle("a", "true")
        await client.request("create", container="a")
        await client.request("delete", container="a")
        with pytest.raises(Missing, match="cannot start a: there is no such container"):
            await client.request("start", container="a")
        assert launcher.events == []

    asyncio.run(story())


def test_an_exec_has_pipes_an_exit_code_and_the_words_of_the_request(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        await launcher.run(client, "a", "sleep", "1000")
        command = ["sh", "-c", "cat; echo $GREETING $WHO >&2; exit 3"]
        reply, (stdin, stdout, stderr) = await client.request_fds(
            "exec", container="a", args=command, env={"WHO": "world"}, stdin=True
        )
        os.write(stdin, b"typed\n")
        os.close(stdin)
        assert (await launcher.ended(reply["exec"]))["code"] == 3
        assert os.read(stdout, 100) == b"typed\n"
        assert os.read(stderr, 100) == b"hello world\n"
        assert os.read(stdout, 100) == b""
        os.close(stdout)
        os.close(stderr)

    asyncio.run(story())


def test_a_probe_keeps_the_first_bytes_and_reads_the_rest(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        await launcher.run(client, "a", "sleep", "1000")
        command = ["sh", "-c", "echo first; head -c 3000000 /dev/zero"]
        reply = await client.request("exec", container="a", args=command, capture=10)
        event = await launcher.ended(reply["exec"])
        assert (event["code"], event["output"], event["timeout"]) == (0, "first\n\0\0\0\0", False)

    asyncio.run(story())


def test_a_probe_out_of_time_is_killed_with_its_whole_tree(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        await launcher.run(client, "a", "sleep", "1000")
        tree = "trap '' TERM; sleep 1001 & (sleep 1002 & echo $!; wait) & echo $!; echo $$; wait"
        reply = await client.request("exec", container="a", args=["sh", "-c", tree], capture=100, timeout=0.3)
        event = await launcher.ended(reply["exec"])
        assert (event["timeout"], event["signal"]) == (True, signal.SIGKILL)
        pids = [int(line) for line in event["output"].split()]
        assert len(pids) == 3
        await client.request("hello")
        for pid in pids:
            try:
                held = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            ended, _, _ = select.select([held], [], [], 20)  # killed already: it only has to come to it
            os.close(held)
            assert ended, f"process {pid} of the probe's tree is alive"

    asyncio.run(story())


def test_an_exec_that_cannot_be_says_why(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        await launcher.run(client, "a", "sleep", "1000")
        with pytest.raises(OrchestratorError, match="cannot start: command 'nope'"):
            await client.request("exec", container="a", args=["nope"])
        with pytest.raises(OrchestratorError, match="'args' must be a list of texts"):
            await client.request("exec", container="a", args="true")
        with pytest.raises(Missing):
            await client.request("exec", container="b", args=["true"])

    asyncio.run(story())


def test_a_killed_launcher_loses_no_line_doubles_none_and_its_successor_sees_the_end(launcher: PlainLauncher) -> None:
    """Two containers write numbered lines as fast as they can while launchers are killed one after the other."""
    count = 300_000
    finished = os.path.join(launcher.root.directory, "finished")
    os.mkfifo(finished)
    script = (
        f"import sys, signal\nfor n in range({count}): print(n, flush=not n % 7)\n"
        f"sys.stdout.flush(); open({finished!r}, 'w').write('x'); signal.pause()"
    )

    async def story() -> None:
        client = await launcher.client()
        for name in "ab":
            await launcher.run(client, name, sys.executable, "-c", script)
        for _ in range(6):
            launcher.kill()
            await client.closed
            with pytest.raises(Unreachable):
                await client.request("hello")
            client = await launcher.client()
        with open(finished, "rb") as fifo:  # both have written their last line when both have written here
            assert len(await asyncio.to_thread(fifo.read)) in (1, 2)
        for name in "ab":
            await client.request("kill", container=name, signal="USR1")
        for name in "ab":
            # SIGUSR1, which it does not await, ends it by SIGKILL: a pid 1 would be spared. None: before Linux 6.15
            assert (await launcher.ended(name))["signal"] in (signal.SIGKILL, None)
        for name in "ab":
            lines = launcher.log(name).splitlines()
            assert lines == [b"%d" % number for number in range(len(lines))]
        assert max(len(launcher.log(name).splitlines()) for name in "ab") == count

    asyncio.run(story())


def test_a_container_that_waited_at_the_gate_of_a_dead_launcher_is_gone(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        launcher.bundle("a", "true")
        await client.request("create", container="a")
        launcher.kill()
        client = await launcher.client()
        await client.request("delete", container="a")
        assert (await client.request("hello"))["containers"] == []
        assert not any(launcher.has("a", file) for file in ("state.json", "exit.json"))

    asyncio.run(story())


def test_an_end_that_no_launcher_saw_is_written_down_by_the_next(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        reply = await launcher.run(client, "a", "sleep", "1000")
        launcher.kill()
        held = os.pidfd_open(reply["pid"])
        os.kill(reply["pid"], signal.SIGKILL)
        select.select([held], [], [])
        os.close(held)
        client = await launcher.client()
        await client.request("hello")  # from here on we hear of every end
        if not launcher.has("a", "exit.json"):  # its new parent had not reaped it yet: then the zombie tells
            await launcher.ended("a")
        exit = launcher.file("a", "exit.json")
        assert (exit["code"], exit["signal"]) in ((None, None), (None, signal.SIGKILL))
        assert (await client.request("hello"))["containers"] == []

    asyncio.run(story())


def test_last_words_said_while_there_is_no_launcher_are_kept(launcher: PlainLauncher) -> None:
    wait_then_talk = "while ! test -e $0; do sleep 0.02; done; echo last words"

    async def story() -> None:
        client = await launcher.client()
        flag = os.path.join(launcher.root.directory, "flag")
        reply = await launcher.run(client, "a", "sh", "-c", wait_then_talk, flag)
        launcher.kill()
        with held_output(launcher.root):  # as `connect` does while it starts a successor
            held = os.pidfd_open(reply["pid"])
            Path(flag).touch()
            select.select([held], [], [])
            os.close(held)
            launcher.start()
        client = await launcher.client()
        await client.request("hello")
        if not launcher.has("a", "exit.json"):
            await launcher.ended("a")
        assert launcher.log("a") == b"last words\n"

    asyncio.run(story())


def test_quit_leaves_the_containers_alone(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        reply = await launcher.run(client, "a", "sleep", "1000")
        await client.request("quit")
        await client.closed
        client = await launcher.client()
        assert (await client.request("hello"))["containers"] == [{"id": "a", "pid": reply["pid"], "status": "running"}]

    asyncio.run(story())


def test_a_check_that_is_well_is_asked_again_until_its_answer_differs(launcher: PlainLauncher, tmp_path: Path) -> None:
    async def story() -> None:
        client = await launcher.client()
        await launcher.run(client, "a", "sleep", "1000")
        count = tmp_path / "count"
        program = f"echo >> {count}; if [ $(wc -l < {count}) -ge 5 ]; then echo ill; exit 3; fi; echo well"
        asked = {"args": ["sh", "-c", program], "capture": 100, "timeout": 5, "every": 0.02, "probe": "live"}
        reply = await client.request("check", container="a", times=1000, **asked)
        assert (reply["times"], reply["code"], reply["output"]) == (5, 3, "ill\n")
        reply = await client.request("check", container="a", times=1000, **asked)
        assert (reply["times"], reply["code"]) == (1, 3)
        count.unlink()
        reply = await client.request("check", container="a", times=3, **asked)
        assert (reply["times"], reply["code"], reply["output"]) == (3, 0, "well\n")

    asyncio.run(story())


def test_a_check_is_not_asked_again_where_that_would_say_nothing(launcher: PlainLauncher, tmp_path: Path) -> None:
    async def story() -> None:
        client = await launcher.client()
        await launcher.run(client, "a", "sleep", "1000")
        count = tmp_path / "count"
        asked = {"args": ["sh", "-c", f"echo >> {count}"], "capture": 100, "timeout": 5, "every": 0.05, "times": 10**6}

        def begun() -> asyncio.Future[Any]:
            return asyncio.ensure_future(client.request("check", container="a", probe="live", **asked))

        async def ran(times: int) -> None:
            while not count.exists() or len(count.read_text()) < times:
                await client.request("hello")

        older = begun()
        await ran(2)
        newer = begun()  # as after a change of its definition
        assert (await older)["code"] == 0
        await ran(5)
        await client.request("pause", container="a")
        assert (await newer)["code"] == 0
        await client.request("unpause", container="a")
        count.unlink()
        last = begun()
        await ran(2)
        await client.request("kill", container="a", all=True)
        assert (await last)["code"] == 0
        begun_and_left = await launcher.client()
        await launcher.run(client, "b", "sleep", "1000")
        count.unlink()
        ask = {**asked, "args": ["sh", "-c", f"echo >> {count}; sleep 0.1"], "container": "b"}
        left = begun_and_left.begin("check", **ask)
        await ran(1)
        begun_and_left.close()
        with pytest.raises(Unreachable):
            await left
        seen = -1
        while count.exists() and len(count.read_text()) != seen:
            seen = len(count.read_text())
            await client.request("check", container="b", args=["sleep", "0.4"], capture=0, timeout=5)
        assert seen < 5

    asyncio.run(story())
