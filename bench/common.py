"""What every engine is measured by: name of the figure → seconds, bytes, or lines and bytes a second (medians)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from statistics import median

from bench import stacks
from bench.engines import Engine
from bench.figures import Asked, at_least, at_most, shown

SERVICES, LOG_BYTES = 100, 100_000_000

# Name of a figure → what it is, and what we ask of pyorch.
FIGURES: dict[str, tuple[str, Asked]] = {
    "up": ("up -d --wait of 100 services, image present", at_most(1.0, "s")),
    "again": ("the same again, nothing changed", at_most(0.15, "s")),
    "change": ("one of 50 changed, up -d", at_most(0.25, "s")),
    "down": ("down of 100, the stop signal obeyed at once", at_most(0.6, "s")),
    "run": ("run --rm of one container, whole command", shown("ms")),
    "exec": ("exec true, whole command", at_most(0.1, "ms")),
    "ps": ("ps of 100, whole command", at_most(0.08, "ms")),
    "chain": ("chain of 10, each waits for the former's health", at_most(1.0, "s")),
    "replacement": ("killed container → replacement running", at_most(0.02, "ms")),
    "more": ("one more container, outside its own processes (PSS)", at_most(100e3, "kB")),
    "memory": ("the engine's processes with 100 services (PSS)", at_most(80e6, "MB")),
    "log": ("100 MB of log lines, a container's life", shown("MB/s")),
    "logs": ("logs of them, whole command", at_least(500_000, "lines/s")),
}


def measure(engine: Engine) -> dict[str, float]:
    """What does not apply to an engine is not in the answer."""
    parts = [_whole_life, lambda one: _one_changed(one, SERVICES // 2), _chain]
    if running := engine.running:
        parts += [lambda one: _replacement(one, running), lambda one: _logs(one, running)]
    measured: dict[str, float] = {}
    for part in parts:
        try:
            measured |= part(engine)
        except RuntimeError as error:  # what a peer cannot do costs it that figure, not the others
            if engine.seen is None:
                raise
            print(f"{engine.name}: {error}", flush=True)
            engine.down()
    return measured


def _whole_life(engine: Engine) -> dict[str, float]:
    up, again, ps, execs, runs, down = [], [], [], [], [], []
    few = SERVICES // 10
    engine.write(stacks.many(engine.image, few))
    engine.up()
    small = engine.memory()
    engine.down()
    engine.write(stacks.many(engine.image, SERVICES))
    for turn in range(engine.runs):
        up.append(engine.up())
        _all_run(engine)
        if not turn:
            large = engine.memory()
        again += [engine.up() for _ in range(engine.runs)]
        ps += [engine.run("ps") for _ in range(engine.runs)]
        execs += [engine.run("exec", "-T", "s001", "true") for _ in range(5)]
        runs += [engine.run("run", "--rm", "-T", "s001", "true") for _ in range(3)]
        down.append(engine.down())
    seconds = {"up": up, "again": again, "ps": ps, "exec": execs, "run": runs, "down": down}
    measured = {name: median(each) for name, each in seconds.items()}
    if engine.pids:
        measured |= {"memory": large, "more": (large - small) / (SERVICES - few)}
    return measured


def _one_changed(engine: Engine, services: int) -> dict[str, float]:
    seconds = []
    engine.write(stacks.many(engine.image, services))
    engine.up()
    for change in range(1, engine.runs + 3):
        engine.write(stacks.many(engine.image, services, changed=change))
        seconds.append(engine.run("up", "-d"))
    engine.down()
    return {"change": median(seconds)}


def _chain(engine: Engine) -> dict[str, float]:
    """podman runs no health checks without systemd, so a chain there never ends; it is not asked."""
    if not engine.wait:
        return {}
    seconds = []
    engine.write(stacks.chain(engine.image, 10))
    for _ in range(engine.runs):
        seconds.append(engine.up())
        engine.down()
    return {"chain": median(seconds)}


def _replacement(engine: Engine, running: Callable[[], set[int]], runs: int = 7) -> dict[str, float]:
    """Seconds from SIGKILL of a container's first process until its successor runs its program."""
    engine.write(stacks.restarted(engine.image))
    seconds = []
    for _ in range(runs):
        engine.up()  # anew for each, or dockerd waits longer every time
        pid = _one(running)
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while not running() - {pid}:
            time.sleep(0.0005)  # looking all the time would take one of the cores that the work needs
            if time.perf_counter() - began > 60:
                raise RuntimeError(f"{engine.name} does not restart a killed container")
        seconds.append(time.perf_counter() - began)
        engine.down()
    return {"replacement": median(seconds)}


def _logs(engine: Engine, running: Callable[[], set[int]]) -> dict[str, float]:
    """A container that says 100 bytes a line as fast as it can, and `logs` of it; nothing may be missing."""
    engine.write(stacks.talks(engine.image, LOG_BYTES))
    began = time.perf_counter()
    engine.run("up", "-d")
    while running():
        time.sleep(0.005)
    written = time.perf_counter() - began
    began = time.perf_counter()
    line = engine.line("logs", "s0")  # podman-compose knows no --no-color; into a pipe nobody writes colours
    said = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, env=engine.environment)
    seconds, lines = time.perf_counter() - began, said.stdout.count(b"x\n")
    engine.down()
    if lines < LOG_BYTES // 100:
        raise RuntimeError(f"{engine.name} gives back only {lines} lines of {LOG_BYTES // 100}: {said.stderr[-500:]!r}")
    return {"log": LOG_BYTES / written, "logs": lines / seconds}


def _all_run(engine: Engine) -> None:
    """podman-compose says 0 whatever became of it."""
    if engine.running and (found := len(engine.running())) != SERVICES:
        raise RuntimeError(f"{engine.name} has started {found} of {SERVICES} services")


def _one(running: Callable[[], set[int]]) -> int:
    """The first process of the only container, when it runs."""
    while True:
        if found := running():
            return found.pop()
        time.sleep(0.001)
