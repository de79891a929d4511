"""Requests to the process that fetches and makes images, and what it says. See image_worker.py for its side."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import orchestrator
from orchestrator.errors import HostRefused
from orchestrator.kernel import cgroups
from orchestrator.root import Root

LONGEST = 1 << 20  # bytes of one line
# Of the caller's environment: what leads to its credentials, and through which proxies its requests go.
CARRIED = ("HOME", "PATH", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")

BUILD_NETWORK = "pyorch_build"
_PROXIES = {"http_proxy", "https_proxy", "no_proxy"}

_reaping: set[asyncio.Task[int]] = set()


def carried(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of a caller's environment that the worker needs; the agent's own where the caller gives none."""
    known = environment or os.environ
    return {name: value for name, value in known.items() if name in CARRIED or name.lower() in _PROXIES}


async def work(
    root: Root, request: dict[str, Any], answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]] | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Everything the worker says, until it has done. Left early (the asker went away), the work ends too.

    `answer`: what it is told where it asks for something ("type": "ask"). Raises HostRefused where the worker died of
    something it did not foresee.
    """
    where = os.path.dirname(os.path.dirname(orchestrator.__file__))
    code = (
        f"import sys; sys.path.insert(0, {where!r}); from orchestrator.agent.image_worker import main; sys.exit(main())"
    )
    log = os.open(os.path.join(root.state, "images.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", code,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=LONGEST,
            env={**os.environ, **_ways_out(request)}, start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(log)
    assert process.stdin and process.stdout
    finished = False
    try:
        process.stdin.write(json.dumps({"root": root.directory, **request}).encode() + b"\n")
        while line := await process.stdout.readline():
            message = json.loads(line)
            if message["type"] == "end":
                finished = True
                return
            if message["type"] == "ask" and answer is not None:
                process.stdin.write(json.dumps(await answer(message)).encode() + b"\n")
                continue
            yield message
        code_of_end = await process.wait()
        raise HostRefused(
            f"cannot do it: the process that works on images ended with {code_of_end}; see {root.state}/images.log"
        )
    finally:
        if not finished and process.returncode is None:
            process.kill()
        # It writes to the disk what it made, for as long as its stdin stays open.
        task = asyncio.ensure_future(process.wait())
        _reaping.add(task)
        task.add_done_callback(_reaping.discard)


def step_name(home: str) -> str:
    """Of the container of the step that is made in this directory."""
    return "build-" + os.path.basename(home).removeprefix("step-")


def sweep(root: Root, name: str = "build-") -> None:
    """Steps of builds whose worker was killed, or the one of this `name`: their processes end, their groups go."""
    for path in cgroups.children(f"/{root.cgroup}"):
        if os.path.basename(path).startswith(name):
            group = cgroups.Group(path)
            group.kill()
            group.remove()


def _ways_out(request: dict[str, Any]) -> dict[str, str]:
    """What OpenSSL and the programs of a build's fetches read from the process's own environment."""
    given = request.get("environment") or {}
    wanted = {"SSL_CERT_FILE", "SSL_CERT_DIR"}
    return {name: value for name, value in given.items() if name in wanted or name.lower() in _PROXIES}
