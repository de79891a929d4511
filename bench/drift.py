"""From a change that somebody else makes to the event that tells it: as whoever follows the events sees it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench.engines import Engine
from orchestrator.kernel import netlink

RUNS = 5
STACK = """name: drift
services:
  one:
    image: '{image}'
    command: sleep 1000
    init: true
    stop_grace_period: 1s
    configs: [{{source: motd, target: /motd}}]
configs: {{motd: {{content: good morning}}}}
"""


def seen(engine: Engine) -> dict[str, float]:
    """Seconds, median, by what was changed. Each change is healed, so that the next one is a change again."""
    engine.write(STACK.format(image=engine.image))
    engine.up()
    bundle = next(Path(os.environ["PYORCH_ROOT"], "run", "bundles").iterdir())
    changes: dict[str, Callable[[], object]] = {
        "a config file written to": lambda: (bundle / "materials" / "0").write_text("good night"),
        "a link removed": lambda: _remove_link(bundle.name),
    }
    line = [*engine.command, "-p", "drift", "events", "--json", "--since", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout
        told = (json.loads(line) for line in events.stdout)
        next(event for event in told if event["action"] == "start")
        drifts = (event for event in told if event["action"] == "drift")
        found = {
            what: median(_seconds(engine, change, drifts) for _ in range(RUNS)) for what, change in changes.items()
        }
        events.terminate()
    engine.down()
    return found


def _seconds(engine: Engine, change: Callable[[], object], drifts: Iterator[object]) -> float:
    engine.up()  # what is put right again and again is left alone until somebody asks anew
    began = time.perf_counter()
    change()
    next(drifts)
    return time.perf_counter() - began


def _remove_link(container: str) -> None:
    with netlink.Netlink() as kernel:
        name = next(link.name for link in netlink.links(kernel) if link.name.startswith(f"po{container[:10]}"))
        kernel.run(netlink.drop_link(name))
