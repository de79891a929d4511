"""What the launcher bears: packets that make no sense, clients that do not read, requests that cannot be."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from plain_launcher import PlainLauncher

from orchestrator.errors import Missing, OrchestratorError


@pytest.fixture
def launcher() -> Iterator[PlainLauncher]:
    directory = tempfile.mkdtemp(prefix="po-l-")
    launcher = PlainLauncher(directory)
    launcher.start()
    yield launcher
    print(launcher.own_log())
    launcher.close()
    shutil.rmtree(directory)


def dial(launcher: PlainLauncher) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    line.connect(launcher.root.launcher_socket)
    line.settimeout(10)
    return line


def ask(line: socket.socket, packet: bytes) -> dict[str, Any]:
    line.send(packet)
    answer: dict[str, Any] = json.loads(line.recv(1 << 20))
    return answer


def answers(line: socket.socket) -> bool:
    try:
        return "pid" in ask(line, b'{"do": "hello"}')
    except (OSError, ValueError):  # closed; an empty packet
        return False


@pytest.mark.parametrize(
    ("packet", "sentence"),
    [
        (b"\xff\x00garbage", "cannot read the request: not JSON"),
        (b"[1, 2]", "cannot read the request: not a JSON object"),
        (b"[" * 100_000, "cannot read the request: not JSON"),
        (b'{"do": "x"}' + b" " * 150_000, "cannot read the request: it is longer than 131072 bytes"),
        (b"{}", "cannot do None: there is no such request"),
        (b'{"do": "__class__"}', "cannot do '__class__': there is no such request"),
        (b'{"do": ["create"]}', "cannot do ['create']: there is no such request"),
        (b'{"do": "create", "container": "../../etc"}', 'cannot use container "../../etc"'),
        (b'{"do": "create", "container": 7}', "cannot use container 7"),
        (b'{"do": "create", "container": "abc"}', "cannot use container abc:"),
        (b'{"do": "start", "container": "abc"}', "cannot start abc: there is no such container"),
        (b'{"do": "signal", "exec": {}}', "cannot signal exec {}: there is none"),
    ],
)
def test_nonsense_is_answered_and_the_next_request_is_served(
    launcher: PlainLauncher, packet: bytes, sentence: str
) -> None:
    with dial(launcher) as line:
        assert ask(line, packet)["error"].startswith(sentence)
        assert ask(line, b'{"id": 1, "do": "hello"}')["re"] == 1


def test_random_packets_never_end_it(launcher: PlainLauncher) -> None:
    chance = random.Random(7)
    pid = launcher.pid
    words = [None, 0, -1, 1e300, "", "a", "SIGKILL", [], {}, [1], True]
    keys = ["container", "signal", "exec", "args", "env", "capture", "timeout", "rows", "cols", "all", "id"]
    deeds = ["hello", "create", "start", "kill", "exec", "resize", "signal", "cancel", "delete"]
    launcher.bundle("a", "sleep", "1000")
    with dial(launcher) as line:
        ask(line, b'{"do": "create", "container": "a"}')
        for _ in range(300):
            request = {key: chance.choice(words) for key in chance.sample(keys, 5)}
            request |= {"do": chance.choice(deeds)}
            ask(line, json.dumps(request).encode())
            if chance.random() < 0.2:
                ask(line, chance.randbytes(chance.randrange(1, 2000)))
    with dial(launcher) as line:
        assert ask(line, b'{"do": "hello"}')["pid"] == pid


def test_a_client_that_does_not_read_is_dropped_and_hinders_nobody(launcher: PlainLauncher) -> None:
    with dial(launcher) as deaf, dial(launcher) as line:
        with pytest.raises(OSError):  # closed by the launcher, when its queue for this client is full
            while True:
                deaf.send(b'{"do": "hello"}')
        assert "error" not in ask(line, b'{"do": "hello"}')
    assert "a client was dropped: it does not read" in launcher.own_log()


def test_clients_beyond_the_limit_of_descriptors_are_turned_away(launcher: PlainLauncher) -> None:
    lines = [dial(launcher)]
    room = len(list(Path(f"/proc/{launcher.pid}/fd").iterdir())) + 10
    resource.prlimit(launcher.pid, resource.RLIMIT_NOFILE, (room, room))
    while answers(lines[-1]):
        lines.append(dial(launcher))
    assert len(lines) < 50
    launcher.bundle("a", "sleep", "1000")
    assert "Too many open files" in ask(lines[0], b'{"do": "create", "container": "a"}')["error"]
    for line in lines[1:]:
        line.close()
    assert "error" not in ask(lines[0], b'{"do": "create", "container": "a"}')
    lines[0].close()


def test_errors_come_as_the_exceptions_of_the_house(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        with pytest.raises(Missing, match="cannot kill nobody: there is no such container"):
            await client.request("kill", container="nobody", signal="TERM")
        await launcher.run(client, "a", "sleep", "1000")
        with pytest.raises(OrchestratorError, match="cannot send signal 'SIGNOT': there is no such signal"):
            await client.request("kill", container="a", signal="SIGNOT")
        with pytest.raises(OrchestratorError, match="cannot create a: it exists already, it is running"):
            await client.request("create", container="a")

    asyncio.run(story())


def test_deletes_right_behind_creates_leave_nothing(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        names = [launcher.bundle(f"c{number}", "sleep", "1000") for number in range(10)]
        creates = [asyncio.ensure_future(client.request("create", container=name)) for name in names]
        await asyncio.gather(*(client.request("delete", container=name) for name in names))
        await asyncio.gather(*creates, return_exceptions=True)
        assert (await client.request("hello"))["containers"] == []

    asyncio.run(story())


def test_a_bug_in_a_birth_leaves_no_descriptor_behind(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        launcher.bundle("a", "true", bug="no such key")
        for _ in range(10):
            with pytest.raises(OrchestratorError, match="no such key"):
                await client.request("create", container="a")
        open_files = [os.readlink(each) for each in Path(f"/proc/{launcher.pid}/fd").iterdir()]
        assert not [file for file in open_files if "/bundles/a/" in file]

    asyncio.run(story())


def test_a_state_that_cannot_be_written_makes_no_container(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        bundle = Path(launcher.root.bundle(launcher.bundle("a", "sleep", "1000")))
        (bundle / "state.json.new").mkdir()
        with pytest.raises(OrchestratorError, match=r"cannot write .*/a/state.json: Is a directory"):
            await client.request("create", container="a")
        assert (await client.request("hello"))["containers"] == []
        (bundle / "state.json.new").rmdir()
        await client.request("create", container="a")
        (bundle / "state.json.new").mkdir()
        with pytest.raises(OrchestratorError, match="cannot start: Is a directory"):
            await client.request("start", container="a")
        (bundle / "state.json.new").rmdir()
        await client.request("start", container="a")

    asyncio.run(story())


def test_an_end_that_cannot_be_written_is_told_all_the_same(launcher: PlainLauncher) -> None:
    async def story() -> None:
        client = await launcher.client()
        bundle = Path(launcher.root.bundle(launcher.bundle("a", "sh", "-c", "exit 3")))
        (bundle / "exit.json.new").mkdir()
        await client.request("create", container="a")
        await client.request("start", container="a")
        assert (await launcher.ended("a"))["code"] == 3
        assert (await client.request("hello"))["containers"] == []

    asyncio.run(story())


@pytest.mark.slow
def test_hundreds_of_probes_leave_no_memory_and_no_descriptor_behind(launcher: PlainLauncher) -> None:
    def size() -> tuple[int, int]:
        status = Path(f"/proc/{launcher.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]), len(list(Path(f"/proc/{launcher.pid}/fd").iterdir()))

    async def story() -> None:
        client = await launcher.client()
        await launcher.run(client, "a", "sleep", "1000")

        async def probe() -> None:
            reply = await client.request("exec", container="a", args=["true"], capture=100, timeout=30)
            await launcher.ended(reply["exec"])

        for _ in range(100):
            await probe()
        before, descriptors = size()
        for _ in range(300):
            await probe()
        after, descriptors_after = size()
        assert descriptors_after == descriptors
        assert after - before < 1000  # kB, with their timers still in the heap

    asyncio.run(story())
