"""From a saved file, and from a push, to the new version running: as whoever follows the events sees it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench.engines import Engine, free_port

RUNS = 5
SECRET = "bench"
STACK = """name: sources
services:
  one: {{image: '{image}', command: sleep 1000, init: true, stop_grace_period: 1s, environment: {{V: "{version}"}}}}
"""


def saved(engine: Engine) -> float:
    """Seconds, median."""
    file = engine.directory / "stack.yaml"
    file.write_text(STACK.format(image=engine.image, version=0))
    engine.run("up", "-d", "--watch")
    with _started(engine) as started:
        seconds = [
            _seconds(
                started, lambda version=version: file.write_text(STACK.format(image=engine.image, version=version))
            )
            for version in range(1, RUNS + 1)
        ]
    engine.run("down")
    return median(seconds)


def pushed(engine: Engine) -> float:
    """Seconds, median, of a push to a bare repository here, announced by a webhook."""
    bare, work = engine.directory / "bare.git", engine.directory / "work"
    _git(engine.directory, "init", "--quiet", "--bare", str(bare))
    _git(engine.directory, "init", "--quiet", "--initial-branch=main", str(work))
    port = free_port()
    (engine.directory / "secret").write_text(SECRET)

    def push(version: int) -> None:
        (work / "stack.yaml").write_text(STACK.format(image=engine.image, version=version))
        _git(work, "add", "--all")
        _git(work, "commit", "--quiet", "--message", str(version))
        _git(work, "push", "--quiet", str(bare), "main")
        if version:
            _announce(port)

    push(0)
    how = (
        "--allow",
        f"path={engine.directory}",
        "--ref",
        "main",
        "--interval",
        "1h",
        "--settle",
        "0s",
        "--webhook",
        f"127.0.0.1:{port}",
    )
    secret = ("--secret-file", str(engine.directory / "secret"))
    engine.run("sync", "add", "bench", "--repo", str(bare), *how, *secret)
    while "Synced" not in subprocess.run([*engine.command, "sync", "ls"], capture_output=True, text=True).stdout:
        time.sleep(0.05)
    with _started(engine) as started:
        seconds = [_seconds(started, lambda version=version: push(version)) for version in range(1, RUNS + 1)]
    engine.run("sync", "rm", "bench")
    engine.run("-p", "sources", "down")
    return median(seconds)


@contextlib.contextmanager
def _started(engine: Engine) -> Iterator[Callable[[], None]]:
    """A function that returns when the next container has been started."""
    line = [*engine.command, "-p", "sources", "events", "--json", "--since", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout
        lines = (json.loads(line) for line in events.stdout)
        next(event for event in lines if event["action"] == "start")
        try:
            yield lambda: next(None for event in lines if event["action"] == "start" and event["type"] == "container")
        finally:
            events.terminate()


def _seconds(started: Callable[[], None], change: Callable[[], object]) -> float:
    began = time.perf_counter()
    change()
    started()
    return time.perf_counter() - began


def _announce(port: int) -> None:
    signature = "sha256=" + hmac.new(SECRET.encode(), b"{}", hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": signature}
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/hook/bench", b"{}", headers)).read()


def _git(directory: Path, *words: str) -> None:
    names = {f"GIT_{who}_{what}": "bench@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", *words], cwd=directory, env=os.environ | names | {"GIT_CONFIG_GLOBAL": "/dev/null"}, check=True
    )
