"""The launcher with real containers, without an agent: what it promises must be true of processes and cgroups."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator import images
from orchestrator.agent import daemon, home
from orchestrator.agent.launcher_client import LauncherClient, connect
from orchestrator.errors import Missing, OrchestratorError
from orchestrator.kernel import cgroups, parents
from orchestrator.root import Root
from orchestrator.runtime import logreader
from orchestrator.runtime.spec import container_spec
from orchestrator.stack.model import Limits, Service


class Host:
    """A root of its own with a launcher and bundles of host:/; everything it started is gone after `close`."""

    def __init__(self) -> None:
        self.root = Root(tempfile.mkdtemp(prefix="po-s-"))
        os.mkdir(self.root.run)
        home.into_memory(self.root)
        self.image = images.prepare("host:/", self.root)
        self.names: list[str] = []
        self._ended: dict[object, asyncio.Future[dict[str, Any]]] = {}

    @asynccontextmanager
    async def launcher(self) -> AsyncIterator[LauncherClient]:
        client = await connect(self.root, self._heard)
        await client.request("hello")
        yield client
        client.close()

    def bundle(self, name: str, *command: str, **service: Any) -> str:
        spec = container_spec(
            service=Service(name=name, image="host:/", command=command, **service),
            image=self.image, container=name, root=self.root, hostname=name,
        )  # fmt: skip
        for directory in ("upper", "work", "log"):
            os.makedirs(os.path.join(self.root.container(name), directory), exist_ok=True)
        os.makedirs(self.root.bundle(name), exist_ok=True)
        Path(self.root.bundle(name), "config.json").write_text(json.dumps(spec))
        self.names.append(name)
        return name

    async def run(self, client: LauncherClient, name: str, *command: str, **service: Any) -> int:
        """The host's pid of its first process."""
        reply = await client.request("create", container=self.bundle(name, *command, **service))
        await client.request("start", container=name)
        return int(reply["pid"])

    def _heard(self, event: dict[str, Any]) -> None:
        self._future(event["container"] if event["event"] == "exit" else event["exec"]).set_result(event)

    def _future(self, key: object) -> asyncio.Future[dict[str, Any]]:
        return self._ended.setdefault(key, asyncio.get_running_loop().create_future())

    async def ended(self, key: object) -> dict[str, Any]:
        event = await self._future(key)
        del self._ended[key]
        return event

    async def captured(self, client: LauncherClient, name: str, *args: str, **fields: Any) -> dict[str, Any]:
        reply = await client.request("exec", container=name, args=args, capture=10_000, **fields)
        return await self.ended(reply["exec"])

    def log(self, name: str) -> bytes:
        return b"".join(chunk.data for chunk in logreader.read(os.path.join(self.root.container(name), "log")))

    def exit(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Path(self.root.bundle(name), "exit.json").read_text())
        return found

    def kill_launcher(self) -> None:
        pid = daemon.holder(self.root, "launcher.lock")
        assert pid
        held = os.pidfd_open(pid)
        signal.pidfd_send_signal(held, signal.SIGKILL)
        select.select([held], [], [])
        os.close(held)

    def own_log(self) -> str:
        return Path(self.root.run, "launcher.log").read_text()

    def groups(self) -> list[str]:
        return [
            directory
            for name in self.names
            for directory in cgroups.hierarchy().directories(f"/{self.root.cgroup}/{name}").values()
            if os.path.exists(directory)
        ]

    async def clear(self) -> None:
        async with self.launcher() as client:
            for name in self.names:
                await client.request("delete", container=name)
            await client.request("quit")
            await client.closed

    def close(self) -> None:
        asyncio.run(self.clear())
        print(self.own_log())
        left = self.groups()
        parents.forget(f"/{self.root.cgroup}")
        home.leave(self.root)
        shutil.rmtree(self.root.directory)
        assert not left


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def test_a_whole_life(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            pid = await host.run(client, "a", "sh", "-c", "echo out; echo err >&2; read x; exit 7")
            # Its stdin is empty, so that `read` fails at once.
            event = await host.ended("a")
            assert (event["code"], event["signal"], event["oom"]) == (7, None, False)
            assert sorted(host.log("a").splitlines()) == [b"err", b"out"]
            assert not os.path.exists(f"/proc/{pid}")
            assert not host.groups()

    asyncio.run(story())


def test_who_asks_early_for_a_start_is_answered_when_the_program_runs(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            networks = {os.readlink("/proc/self/ns/net")}
            for name in ("first", "second", "third"):  # the later ones in network namespaces made ahead
                host.bundle(name, "sh", "-c", "cat /proc/net/dev; exec sleep 1000")
                made = await client.request("create", container=name, until="network")
                networks.add(os.readlink(f"/proc/{made['pid']}/ns/net"))
                await client.request("start", container=name)
                while b"lo:" not in host.log(name):  # its network is there, and it runs
                    await client.request("hello")
                assert b"eth0:" not in host.log(name)
            assert len(networks) == 4

    asyncio.run(story())


def test_what_fails_after_the_early_answer_is_told_to_who_asks_next(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            for ask in ("start", "stands"):
                config = Path(host.root.bundle(host.bundle("a", "true")), "config.json")
                spec = json.loads(config.read_text())
                spec["mounts"].append({"type": "bind", "source": "/no/such", "destination": "/x", "options": ["rbind"]})
                config.write_text(json.dumps(spec))
                await client.request("create", container="a", until="network")
                with pytest.raises(OrchestratorError, match="there is no such file or directory on the host"):
                    await client.request(ask, container="a")
                assert not host.groups()
                await client.request("delete", container="a")
            host.bundle("b", "sleep", "1000")
            made = await client.request("create", container="b", until="network")
            assert await client.request("stands", container="b") == {**made, "re": made["re"] + 1}

    asyncio.run(story())


def test_a_launcher_without_containers_holds_no_network_namespace(host: Host) -> None:
    def held() -> list[str]:
        files = f"/proc/{daemon.holder(host.root, 'launcher.lock')}/fd"
        links = []
        for file in os.listdir(files):
            with contextlib.suppress(FileNotFoundError):
                links.append(os.readlink(f"{files}/{file}"))
        return [link for link in links if link.startswith("net:")]

    async def story() -> None:
        async with host.launcher() as client:
            await host.run(client, "a", "sleep", "1000")
            while not held():
                await client.request("hello")
            await client.request("delete", container="a")
            assert held() == []

    asyncio.run(story())


def test_the_same_bundle_runs_again_and_its_log_goes_on(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            host.bundle("a", "sh", "-c", "echo run >> /count; wc -l < /count; kill -9 $$")
            for _ in range(3):
                await client.request("create", container="a")
                await client.request("start", container="a")
                await host.ended("a")
            assert host.log("a") == b"1\n2\n3\n"

    asyncio.run(story())


def test_a_missing_command_is_a_sentence_and_leaves_nothing(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            host.bundle("a", "no-such-command")
            await client.request("create", container="a")
            with pytest.raises(OrchestratorError, match="no-such-command"):
                await client.request("start", container="a")
            assert not host.groups()
            assert not os.path.exists(os.path.join(host.root.bundle("a"), "state.json"))

    asyncio.run(story())


def test_a_death_for_want_of_memory_is_told_apart(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            hog = "x = bytearray(200 << 20); print('not reached')"
            await host.run(client, "a", "python3", "-c", hog, limits=Limits(memory=32 << 20))
            event = await host.ended("a")
            assert (event["signal"], event["oom"]) == (signal.SIGKILL, True)
            await host.run(client, "b", "sleep", "1000", limits=Limits(memory=32 << 20))
            await client.request("kill", container="b", signal="KILL")
            event = await host.ended("b")
            assert (event["signal"], event["oom"]) == (signal.SIGKILL, False)

    asyncio.run(story())


def test_a_command_in_a_container_sees_the_container(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            await host.run(client, "a", "sleep", "1000", environment={"WHO": "a"})
            event = await host.captured(client, "a", "sh", "-c", "echo $WHO $MORE; hostname; pwd; exit 4",
                                        env={"MORE": "b"}, cwd="/usr")  # fmt: skip
            assert (event["code"], event["output"]) == (4, "a b\na\n/usr\n")
            event = await host.captured(client, "a", "id", "-u", user="nobody")
            assert event["output"] == "65534\n"
            with pytest.raises(OrchestratorError, match="'nobody-here'"):
                await client.request("exec", container="a", args=["true"], user="nobody-here")

    asyncio.run(story())


def test_a_probe_out_of_time_takes_its_whole_tree_along(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            await host.run(client, "a", "sleep", "1000", init=True)
            hang = "trap '' TERM; sleep 1001 & (sleep 1002; true) & sh -c 'sleep 1003 &' ; wait"
            event = await host.captured(client, "a", "sh", "-c", hang, timeout=0.3)
            assert (event["timeout"], event["signal"]) == (True, signal.SIGKILL)
            left = await host.captured(client, "a", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
            assert not any(each in left["output"] for each in ("sleep 1001", "sleep 1002", "sleep 1003"))

    asyncio.run(story())


def test_a_terminal_is_one_inside(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            await host.run(client, "a", "sleep", "1000")
            command = ["sh", "-c", "tty; stty size; read line; stty size; echo got $line; exit 5"]
            reply, (master,) = await client.request_fds("exec", container="a", args=command, tty=True, rows=33, cols=99)
            said = b""
            while b"33 99" not in said:
                said += await asyncio.to_thread(os.read, master, 1000)
            await client.request("resize", exec=reply["exec"], rows=44, cols=111)
            os.write(master, b"typed\n")
            assert (await host.ended(reply["exec"]))["code"] == 5
            while b"got" not in said:
                said += await asyncio.to_thread(os.read, master, 1000)
            os.close(master)
            assert said.split() == [b"/dev/pts/0", b"33", b"99", b"typed", b"44", b"111", b"got", b"typed"]

    asyncio.run(story())


def test_ctrl_c_in_a_terminal_is_a_signal_inside(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            await host.run(client, "a", "sleep", "1000")
            command = ["sh", "-c", "echo ready; exec sleep 1000"]
            reply, (master,) = await client.request_fds("exec", container="a", args=command, tty=True)
            said = b""
            while b"ready" not in said:
                said += await asyncio.to_thread(os.read, master, 1000)
            os.write(master, b"\x03")
            assert (await host.ended(reply["exec"]))["signal"] == signal.SIGINT
            os.close(master)

    asyncio.run(story())


def test_a_killed_launcher_is_succeeded_and_nothing_is_lost(host: Host) -> None:
    count = 200_000
    script = (
        f"import sys, signal\nfor n in range({count}): print(n, flush=not n % 7)\n"
        "sys.stdout.flush(); signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "open('/finished', 'w').close(); signal.pause()"
    )

    async def story() -> None:
        async with host.launcher() as client:
            for name in "ab":
                await host.run(client, name, "python3", "-c", script)
            waiting = host.bundle("c", "true")
            await client.request("create", container=waiting)
        for _ in range(5):
            host.kill_launcher()
            async with host.launcher():
                pass
        async with host.launcher() as client:
            with pytest.raises(Missing):
                await client.request("start", container=waiting)
            done = "while ! test -e /finished; do sleep 0.05; done"
            for name in "ab":
                await host.captured(client, name, "sh", "-c", done)
                await client.request("kill", container=name, signal="TERM")
                event = await host.ended(name)
                assert event["code"] in (9, None)  # None: init had reaped it, on a kernel older than 6.15
                assert host.exit(name)["code"] == event["code"]
                assert host.log(name).splitlines() == [b"%d" % number for number in range(count)]
        assert not host.groups()

    asyncio.run(story())


def test_delete_kills_whatever_a_container_has_started(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            pid = await host.run(client, "a", "sh", "-c", "trap '' TERM; (sleep 1000 &) ; sleep 1000; sleep 1000")
            reply, descriptors = await client.request_fds("exec", container="a", args=["sleep", "1000"], stdin=True)
            await client.request("delete", container="a")
            for each in (pid, reply["pid"]):
                assert not os.path.exists(f"/proc/{each}")
            assert not host.groups()
            for descriptor in descriptors:
                os.close(descriptor)

    asyncio.run(story())


def test_a_full_disk_stops_no_container_and_is_told_once(host: Host) -> None:
    async def story() -> None:
        name = host.bundle(
            "a", "sh", "-c", "head -c 3000000 /dev/zero; while ! test -e /go; do sleep 0.02; done; echo end"
        )
        log = os.path.join(host.root.container(name), "log")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", log], check=True)
        try:
            async with host.launcher() as client:
                await client.request("create", container=name)
                await client.request("start", container=name)
                # It has written three megabytes when it comes to wait; only then is there room again.
                await host.captured(client, name, "sh", "-c", "until grep -l sleep /proc/[0-9]*/comm; do :; done")
                subprocess.run(["mount", "-o", "remount,size=8m", log], check=True)
                await host.captured(client, name, "touch", "/go")
                assert (await host.ended(name))["code"] == 0
                assert host.log(name).endswith(b"\0end\n")
        finally:
            subprocess.run(["umount", log], check=True)
        said = [line for line in host.own_log().splitlines() if log in line]
        assert len(said) == 2 and "No space left on device" in said[0] and "goes on" in said[1], said

    asyncio.run(story())


def test_a_gigabyte_without_a_newline_is_bounded(host: Host) -> None:
    async def story() -> None:
        async with host.launcher() as client:
            await host.run(client, "a", "head", "-c", "300000000", "/dev/zero")
            assert (await host.ended("a"))["code"] == 0
            kept = sum(entry.stat().st_size for entry in os.scandir(os.path.join(host.root.container("a"), "log")))
            assert 100 << 20 < kept < 150 << 20

    asyncio.run(story())
