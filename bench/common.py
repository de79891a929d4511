"""What every engine is measured by: name of the figure → seconds (medians)."""

from __future__ import annotations

from statistics import median

from bench import stacks
from bench.engines import Engine


def measure(engine: Engine, services: int = 100, runs: int = 3) -> dict[str, float]:
    return {**_whole_life(engine, services, runs), **_one_changed(engine, services // 2), **_chain(engine, runs)}


def _whole_life(engine: Engine, services: int, runs: int) -> dict[str, float]:
    up, again, ps, execs, down = [], [], [], [], []
    engine.write(stacks.many(engine.image, services))
    for _ in range(runs):
        up.append(engine.up())
        again += [engine.up() for _ in range(3)]
        ps += [engine.run("ps") for _ in range(5)]
        execs += [engine.run("exec", "-T", "s001", "true") for _ in range(5)]
        down.append(engine.down())
    return {"up": median(up), "again": median(again), "ps": median(ps), "exec": median(execs), "down": median(down)}


def _one_changed(engine: Engine, services: int) -> dict[str, float]:
    seconds = []
    engine.write(stacks.many(engine.image, services))
    engine.up()
    for change in range(1, 6):
        engine.write(stacks.many(engine.image, services, changed=change))
        seconds.append(engine.run("up", "-d"))
    engine.down()
    return {"change": median(seconds)}


def _chain(engine: Engine, runs: int) -> dict[str, float]:
    """podman runs no health checks without systemd, so a chain there never ends; it is not asked."""
    if not engine.wait:
        return {}
    seconds = []
    engine.write(stacks.chain(engine.image, 10))
    for _ in range(runs):
        seconds.append(engine.up())
        engine.down()
    return {"chain": median(seconds)}
