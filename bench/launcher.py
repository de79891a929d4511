"""Figures of the launcher alone, without agent and network: `python -m bench.launcher` (root)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench import engines
from orchestrator import images
from orchestrator.agent import daemon, home
from orchestrator.agent.launcher_client import LauncherClient, connect
from orchestrator.kernel import parents
from orchestrator.root import Root
from orchestrator.runtime.spec import container_spec
from orchestrator.stack.model import Limits, Service

USUAL = Limits(cpus=1, memory=256 << 20)


class Bench:
    """A launcher on a root of its own, and bundles of one image for it."""

    def __init__(self, root: Root, client: LauncherClient, image: str) -> None:
        self.root, self.client = root, client
        self.image = images.prepare(image, root)
        self.ends: dict[object, asyncio.Future[dict[str, Any]]] = {}

    def bundle(self, name: str, *command: str, limits: Limits = USUAL, **annotations: str) -> str:
        service = Service(name=name, image=self.image.reference, command=command, limits=limits)
        spec = container_spec(service=service, image=self.image, container=name, root=self.root, hostname=name)
        spec["annotations"].update(annotations)
        for directory in ("upper", "work", "log"):
            os.makedirs(os.path.join(self.root.container(name), directory), exist_ok=True)
        os.makedirs(self.root.bundle(name), exist_ok=True)
        Path(self.root.bundle(name), "config.json").write_text(json.dumps(spec))
        return name

    async def each(self, do: str, names: list[str]) -> float:
        """Seconds for one request for each of them, all at once."""
        began = time.perf_counter()
        await asyncio.gather(*(self.client.request(do, container=name) for name in names))
        return time.perf_counter() - began

    async def ended(self, key: object) -> dict[str, Any]:
        return await self.ends.setdefault(key, asyncio.get_running_loop().create_future())

    def heard(self, event: dict[str, Any]) -> None:
        key = event["container"] if event["event"] == "exit" else event["exec"]
        self.ends.setdefault(key, asyncio.get_running_loop().create_future()).set_result(event)

    def resident(self) -> float:
        """MB of the launcher (VmRSS)."""
        status = Path(f"/proc/{daemon.holder(self.root, 'launcher.lock')}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


@asynccontextmanager
async def launcher(image: str | None = None) -> AsyncIterator[Bench]:
    """`image` None: the static busybox that all engines are measured with."""
    root = Root(tempfile.mkdtemp(prefix="po-b-"))
    lock = home.claim(root)
    bench: list[Bench] = []
    client = await connect(root, lambda event: bench[0].heard(event))
    bench.append(Bench(root, client, image or engines.image(Path(root.directory))))
    try:
        yield bench[0]
    finally:
        await bench[0].each("delete", os.listdir(root.bundles))
        await client.request("quit")
        await client.closed
        parents.forget(f"/{root.cgroup}")
        home.leave(root)
        os.close(lock)
        shutil.rmtree(root.directory)


async def one_by_one(bench: Bench, runs: int = 50) -> None:
    births, starts, execs, kills = [], [], [], []
    for number in range(runs):
        name = bench.bundle(f"one{number}", "sleep", "1000")
        births.append(await bench.each("create", [name]))
        starts.append(await bench.each("start", [name]))
        began = time.perf_counter()
        reply = await bench.client.request("exec", container=name, args=["true"], capture=0)
        await bench.ended(reply["exec"])
        execs.append(time.perf_counter() - began)
        kills.append(await bench.each("delete", [name]))
    whole = [birth + start for birth, start in zip(births, starts, strict=True)]
    show("create (no network, limits of cpu and memory)", births)
    show("start: gate to exec", starts)
    show("create + start", whole)
    show("exec true, to its exit", execs)
    show("delete of a running one", kills)


async def a_wave(bench: Bench, count: int = 100) -> None:
    before = bench.resident()
    names = [bench.bundle(f"wave{number}", "sleep", "1000") for number in range(count)]
    print(f"{count} created at once        {await bench.each('create', names) * 1e3:8.0f} ms")
    print(f"{count} started at once        {await bench.each('start', names) * 1e3:8.0f} ms")
    print(f"launcher RSS: {before:.1f} MB, with {count} containers {bench.resident():.1f} MB")
    for timed in range(2):
        began = time.perf_counter()
        replies = await asyncio.gather(
            *(bench.client.request("exec", container=name, args=["true"], capture=100) for name in names)
        )
        await asyncio.gather(*(bench.ended(reply["exec"]) for reply in replies))
        if timed:
            print(f"{count} probes at once         {(time.perf_counter() - began) * 1e3:8.0f} ms")
    print(f"{count} deleted at once        {await bench.each('delete', names) * 1e3:8.0f} ms")


async def requests(bench: Bench, count: int = 100, runs: int = 20) -> None:
    costs = []
    for _ in range(runs):
        began = time.process_time()
        await asyncio.gather(*(bench.client.request("hello") for _ in range(count)))
        costs.append((time.process_time() - began) / count)
    print(f"a request in a batch of {count}, client's CPU: {median(costs) * 1e6:.0f} us")


def show(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    tenth = ordered[len(ordered) // 10]
    print(f"{what:48} median {median(ordered) * 1e3:6.2f} ms   p10 {tenth * 1e3:6.2f}   max {ordered[-1] * 1e3:6.2f}")


async def main() -> None:
    async with launcher() as bench:
        print(f"launcher RSS at its start: {bench.resident():.1f} MB")
        await requests(bench)
        await one_by_one(bench)
        await a_wave(bench)


if __name__ == "__main__":
    asyncio.run(main())
