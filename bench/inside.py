"""What only we are measured by: replacement after a kill, memory, the price of health checks."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from statistics import median

from bench import stacks
from bench.engines import Engine, processes

TICK = os.sysconf("SC_CLK_TCK")


def replacement(engine: Engine, runs: int = 7) -> float:
    """Seconds from SIGKILL of a container's first process until its successor runs its program."""
    engine.write(stacks.restarted(engine.image))
    engine.up()
    seconds = []
    for _ in range(runs):
        (pid,) = _running()
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while not _running() - {pid}:
            time.sleep(0.0005)  # looking all the time would take one of the cores that the work needs
        seconds.append(time.perf_counter() - began)
    engine.down()
    return median(seconds)


def memory(engine: Engine, few: int = 10, many: int = 100) -> tuple[float, float]:
    """PSS in bytes: what one more container costs in our processes, and these together with `many` services."""
    engine.write(stacks.many(engine.image, few))
    engine.up()
    small = _pss(engine)
    engine.write(stacks.many(engine.image, many))
    engine.up()
    large = _pss(engine)
    engine.down()
    return (large - small) / (many - few), large


def health_checks(engine: Engine, services: int = 100, seconds: float = 10) -> tuple[float, float]:
    """Shares of one core that checks every second cost: everything, and our own processes without the programs run."""
    engine.write(stacks.checked(engine.image, services))
    engine.up()
    pids = processes(engine).values()
    before, began = [_cpu(pid) for pid in pids], time.perf_counter()
    time.sleep(seconds)
    spent = [(own - own0, whole - whole0) for (own, whole), (own0, whole0) in zip(map(_cpu, pids), before, strict=True)]
    wall = time.perf_counter() - began
    engine.down()
    return sum(whole for _, whole in spent) / wall, sum(own for own, _ in spent) / wall


def _running() -> set[int]:
    """Host pids of the first processes of all containers that run."""
    pids = set()
    for file in Path(os.environ["PYORCH_ROOT"], "run", "bundles").glob("*/state.json"):
        try:
            state = json.loads(file.read_text())
        except FileNotFoundError:
            continue
        if state["status"] == "running":
            pids.add(state["pid"])
    return pids


def _pss(engine: Engine) -> int:
    total = 0
    for pid in processes(engine).values():
        total += int(re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])  # type: ignore[index]
    return total * 1024


def _cpu(pid: int) -> tuple[float, float]:
    """CPU seconds of the process alone, and with the children it has waited for. proc_pid_stat(5), fields 14 to 17."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, children = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return own / TICK, (own + children) / TICK
