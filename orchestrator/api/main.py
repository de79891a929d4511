"""The agent process: the circle, and the door in front of it."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
import traceback
from typing import Any

from orchestrator.agent import ending, home, node_words, nodes
from orchestrator.agent.circle import Circle
from orchestrator.agent.store import Store
from orchestrator.api import http
from orchestrator.api.client import Client
from orchestrator.api.routes import Routes
from orchestrator.errors import Conflict, OrchestratorError
from orchestrator.root import Root
from orchestrator.scheduler.node import Node

# A turn makes thousands of values and drops them again; next to none of them are cycles that must be looked for.
COLLECT = (20_000, 20, 20)
LEAVING = 30.0  # seconds an agent that has been told to stop may still take


def main(arguments: list[str]) -> int:
    """`--root DIR [--ready FD] [--node NAME:… …] [--reserve …]`: serve until SIGTERM; one byte is written to FD once
    requests are answered."""
    os.umask(0o022)  # services of any user read what we write for them; private things are made 0600 by name
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    root = Root(options.get("--root"))
    ready = int(options["--ready"]) if "--ready" in options else None
    try:
        machine = node_words.this_machine(node_words.reserve(options.get("--reserve", "")))
        virtual = [value for key, value in zip(arguments[::2], arguments[1::2], strict=True) if key == "--node"]
        node_words.parse(virtual, machine)
        lock = _claim(root)
        asyncio.run(_serve(root, ready, machine, virtual))
    except OrchestratorError as error:
        if ready is not None:
            os.write(ready, f"{error.exit_code} {error}".encode())  # the log may be on a full disk
        print(f"pyorch: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except BaseExceptionGroup as group:  # a fault of ours, in a task of the circle: all of it, then one line to show
        traceback.print_exception(group)
        print(f"pyorch: cannot run the agent: {_innermost(group)!r}", file=sys.stderr, flush=True)
        return 1
    os.close(lock)
    return 0


def _claim(root: Root) -> int:
    """home.claim, after an agent that is leaving has left; Conflict where one answers, or does not leave."""
    try:
        return home.claim(root)
    except Conflict:
        if Client(root.api_socket).answers() or not home.left(root, LEAVING):
            raise
        return home.claim(root)


def _innermost(error: BaseException) -> BaseException:
    """The first error of a group, however deep."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve(root: Root, ready: int | None, machine: Node, virtual: list[str]) -> None:
    """The circle until it is told to end. Containers, names and ports go on without us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # one for each container's network, see agent.netdrift
    store = Store(root.state, os.path.join(root.run, "wanted.json"))
    known = nodes.Nodes(store, machine)
    if virtual:
        known.define(virtual)
    circle = Circle(root, store, known)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)

    everything_ends = False

    async def stop(everything: bool) -> dict[str, Any]:
        nonlocal everything_ends
        everything_ends = everything
        if everything:
            await ending.end_containers(circle)
        loop.call_later(0.02, over.set)  # the answer goes out first
        return {"pid": os.getpid(), "containers": len(circle.containers)}

    turning = asyncio.create_task(circle.run())
    await _first_turn(circle, turning)
    routes = Routes(circle, stop)
    server = await http.listen(root.api_socket, routes)
    routes.sources.recall()
    await routes.webhooks.recall()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    if store.damage:
        print(f"pyorch: {store.damage}", file=sys.stderr, flush=True)
        circle.events.note("trouble", "agent", store.damage, kind="daemon")
    circle.events.note("start", "agent", f"pid {os.getpid()}", kind="daemon")
    _tell(ready)
    told = asyncio.create_task(over.wait())
    await asyncio.wait({told, turning}, return_when=asyncio.FIRST_COMPLETED)
    server.close()
    if os.path.lexists(root.api_socket):
        os.unlink(root.api_socket)
    routes.webhooks.close()
    await routes.sources.close()
    await circle.drain()
    if turning.done():
        turning.result()  # it ended by itself: its error is ours
    turning.cancel()
    await asyncio.wait({turning})
    if everything_ends or not len(circle.containers):
        await ending.end_processes(root)
        home.leave(root)
    store.close()


async def _first_turn(circle: Circle, turning: asyncio.Task[None]) -> None:
    """Recovery is the first turn; only then is there something true to answer."""
    while circle.turns == 0:
        turn = asyncio.ensure_future(circle.turned(None))
        await asyncio.wait({turn, turning}, return_when=asyncio.FIRST_COMPLETED)
        if turning.done():
            turn.cancel()
            turning.result()


def _tell(ready: int | None) -> None:
    if ready is not None:
        os.write(ready, b"1")
        os.close(ready)
    address = os.environ.get("NOTIFY_SOCKET")
    if address:  # sd_notify(3)
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
