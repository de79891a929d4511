"""A new version of ten replicas behind one port, under load: how many requests fail."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from bench.engines import Engine, free_port

RATE, AT_ONCE = 500, 100  # requests a second; no more than so many are open
REPLICAS = 10
STACK = """name: rollout
services:
  web:
    image: '{image}'
    command: [sh, -c, "mkdir -p /w; echo $$V > /w/index.html; exec httpd -f -p 8000 -h /w"]
    environment: {{V: '{version}'}}
    ports: ["{port}:8000"]
    init: true
    x-pyorch: {{drain: 1s, probes: {{ready: {{http: {{port: 8000}}, interval: 1s}}}}}}
    deploy: {{replicas: {replicas}, update_config: {{order: start-first, parallelism: 2}}}}
"""


def failed(engine: Engine) -> tuple[int, int, float]:
    """(requests that failed, requests made, seconds that the roll-out took)."""
    port = free_port()

    def write(version: str) -> None:
        engine.write(STACK.format(image=engine.image, version=version, port=port, replicas=REPLICAS))

    write("old")
    engine.up()
    write("new")
    answers, seconds = asyncio.run(_roll(engine, port))
    engine.down()
    if not {"old", "new"} <= answers.keys():
        raise RuntimeError(f"cannot measure a roll-out: the answers were {dict(answers)}")
    return answers.total() - answers["old"] - answers["new"], answers.total(), seconds


async def _roll(engine: Engine, port: int) -> tuple[Counter[str], float]:
    over = asyncio.Event()
    loading = asyncio.create_task(_load(port, over))
    seconds = await asyncio.to_thread(engine.up)
    await asyncio.sleep(0.5)  # and on the new ones alone
    over.set()
    return await loading, seconds


async def _load(port: int, over: asyncio.Event) -> Counter[str]:
    """What each request came to: the version that answered, or what went wrong."""
    answers: Counter[str] = Counter()
    asking: set[asyncio.Task[None]] = set()
    began, asked = time.monotonic(), 0
    while not over.is_set():
        due = int((time.monotonic() - began) * RATE)
        for _ in range(min(due - asked, AT_ONCE - len(asking))):
            task = asyncio.create_task(_ask(port, answers))
            asking.add(task)
            task.add_done_callback(asking.discard)
        asked = due
        await asyncio.sleep(0.005)
    await asyncio.gather(*asking)
    return answers


async def _ask(port: int, answers: Counter[str]) -> None:
    try:
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            said = await reader.read()
            writer.close()
    except OSError as error:  # a timeout is one, too
        answers[repr(error)] += 1
    else:
        answers[said.rpartition(b"\r\n\r\n")[2].decode().strip()] += 1
