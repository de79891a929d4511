"""What our processes take of the machine: at rest, and for health checks."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from bench import stacks
from bench.engines import Engine, processes

TICK = os.sysconf("SC_CLK_TCK")
SETTLED = 20  # seconds: what follows a start (networks looked at, failures forgotten) is over by then


def idle(engine: Engine, services: int = 200, seconds: float = 20) -> float:
    """Share of one core that our processes take while nothing happens."""
    engine.write(stacks.many(engine.image, services))
    engine.up()
    time.sleep(SETTLED)
    share = _share(engine, seconds)[1]
    engine.down()
    return share


def health_checks(engine: Engine, services: int = 100, seconds: float = 10) -> tuple[float, float]:
    """Shares of one core that checks every second cost: everything, and our own processes without the programs run."""
    engine.write(stacks.checked(engine.image, services))
    engine.up()
    time.sleep(SETTLED)
    shares = _share(engine, seconds)
    engine.down()
    return shares


def programs(seconds: float = 2) -> float:
    """Share of one core that a hundred a second of the checks' program cost without any engine: spawned and awaited."""
    busybox = shutil.which("busybox") or "/bin/true"
    until, ran, before = time.perf_counter() + seconds, 0, _spent()
    while time.perf_counter() < until:
        os.waitpid(os.posix_spawn(busybox, ["true"], {}), 0)
        ran += 1
    return 100 * (_spent() - before) / ran


def _spent() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _share(engine: Engine, seconds: float) -> tuple[float, float]:
    """Of one core: our processes with the children that they waited for, and without."""
    pids = processes(engine.command).values()
    before, began = [_cpu(pid) for pid in pids], time.perf_counter()
    time.sleep(seconds)
    wall = time.perf_counter() - began
    spent = [(own - own0, whole - whole0) for (own, whole), (own0, whole0) in zip(map(_cpu, pids), before, strict=True)]
    return sum(whole for _, whole in spent) / wall, sum(own for own, _ in spent) / wall


def _cpu(pid: int) -> tuple[float, float]:
    """CPU seconds of the process alone, and with the children it has waited for. proc_pid_stat(5), fields 14 to 17."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, children = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return own / TICK, (own + children) / TICK
