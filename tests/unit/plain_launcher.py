"""A real launcher process on the plain runtime, as `daemon.start` would start it, and a client for it."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from orchestrator.agent import daemon
from orchestrator.agent.launcher_client import LauncherClient, connect
from orchestrator.root import Root
from orchestrator.runtime import logreader

HERE = str(Path(__file__).parent)
PROJECT = str(Path(__file__).parents[2])


class PlainLauncher:
    """`root`: a directory short enough for a socket's name. Ends everything it started."""

    def __init__(self, directory: str) -> None:
        self.root = Root(directory)
        self.events: list[dict[str, Any]] = []
        self._ended: dict[object, asyncio.Future[dict[str, Any]]] = {}

    async def client(self) -> LauncherClient:
        self.start()
        return await connect(self.root, self._heard)

    def start(self) -> None:
        """Returns when a launcher answers, a new one or the one that ran already."""
        reader, writer = os.pipe()
        code = (
            f"import sys; sys.path[:0] = [{PROJECT!r}, {HERE!r}]; import plain_runtime\n"
            "from orchestrator.launcher.main import main; sys.exit(main(sys.argv[1:], plain_runtime))"
        )
        subprocess.run(
            [sys.executable, "-c", code, "--root", self.root.directory, "--ready", str(writer)],
            pass_fds=[writer], check=True,
        )  # fmt: skip
        os.close(writer)
        assert os.read(reader, 1) == b"1", self.own_log()
        os.close(reader)

    @property
    def pid(self) -> int:
        pid = daemon.holder(self.root, "launcher.lock")
        assert pid
        return pid

    def own_log(self) -> str:
        return (Path(self.root.run) / "launcher.log").read_text()

    def bundle(self, name: str, *args: str, **annotations: str) -> str:
        directory = Path(self.root.bundle(name))
        directory.mkdir(parents=True, exist_ok=True)
        spec = {"process": {"args": args, "env": ["GREETING=hello"], "cwd": "/"}, "annotations": annotations}
        (directory / "config.json").write_text(json.dumps(spec))
        return name

    def file(self, name: str, file: str) -> Any:
        return json.loads((Path(self.root.bundle(name)) / file).read_text())

    def has(self, name: str, file: str) -> bool:
        return (Path(self.root.bundle(name)) / file).exists()

    def log(self, name: str) -> bytes:
        return b"".join(chunk.data for chunk in logreader.read(os.path.join(self.root.container(name), "log")))

    async def run(self, client: LauncherClient, name: str, *args: str, **annotations: str) -> dict[str, Any]:
        self.bundle(name, *args, **annotations)
        reply = await client.request("create", container=name)
        await client.request("start", container=name)
        return reply

    def _heard(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        key = event["container"] if event["event"] == "exit" else event["exec"]
        self._future(key).set_result(event)

    def _future(self, key: object) -> asyncio.Future[dict[str, Any]]:
        return self._ended.setdefault(key, asyncio.get_running_loop().create_future())

    async def ended(self, key: object) -> dict[str, Any]:
        """The event of the end of a container (its id) or an exec (its number); the next call waits for the next."""
        event = await self._future(key)
        del self._ended[key]
        return event

    def kill(self) -> None:
        """kill -9 of the launcher, and it is gone when this returns."""
        held = os.pidfd_open(self.pid)
        signal.pidfd_send_signal(held, signal.SIGKILL)
        _wait(held)

    def close(self) -> None:
        if daemon.holder(self.root, "launcher.lock") is not None:
            self.kill()
        for state in Path(self.root.bundles).glob("*/state.json"):
            pid = json.loads(state.read_text())["pid"]
            try:
                held = os.pidfd_open(pid)
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            _wait(held)


def _wait(pidfd: int) -> None:
    select.select([pidfd], [], [])
    os.close(pidfd)
