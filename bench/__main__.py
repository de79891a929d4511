"""`python -m bench [PART ...]`: every figure, what is asked of it, what was measured here. Without a part: all."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import (
    birth,
    common,
    config,
    decider,
    drift,
    engines,
    host,
    images,
    inside,
    launcher,
    logs,
    peers,
    rollout,
    scheduler,
    settle,
    simulate,
    sources,
)
from bench.figures import Table, at_most, shown

PARTS: dict[str, Callable[[Table], None]] = {
    "launcher": lambda table: _launcher(table),
    "logs": lambda table: asyncio.run(logs.measure(table)),
    "images": images.measure,
    # these need neither root nor containers
    "config": config.measure,
    "decider": decider.measure,
    "settle": settle.measure,
    "scheduler": scheduler.measure,
    "simulate": simulate.measure,
}
ROOT = ("engines", "launcher", "logs", "images")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", nargs="*", choices=["engines", *PARTS, []], help="which figures (all)")
    parser.add_argument(
        "--peers",
        metavar="ROOT",
        default=os.environ.get("PYORCH_PEERS"),
        help="a directory with a Debian root where docker and podman are installed; 1: make one, and throw it away",
    )
    given = parser.parse_args()
    parts = given.part or ["engines", *PARTS]
    if os.geteuid() != 0 and (needs := [part for part in parts if part in ROOT]):
        sys.exit(f"cannot measure {', '.join(needs)}: this needs root; run it with sudo")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as after Ctrl-C, nothing stays behind
    print("\n".join(host.facts()), flush=True)
    table = Table()
    for part in parts:
        if part == "engines":
            _engines(table, given.peers)
        else:
            PARTS[part](table)
    table.end()


def _engines(table: Table, where: str | None) -> None:
    """Whole commands as a user gives them, beside the peers; then what only we are asked for."""
    directory = Path(tempfile.mkdtemp(prefix="pyorch-bench-"))
    engine = engines.ours(directory)
    try:
        with peers.beside(directory, where) as found:
            _side_by_side(table, engine, found)
        _ours_alone(table, engine)
    finally:
        engines.stop(engine)
        shutil.rmtree(directory)


def _side_by_side(table: Table, engine: engines.Engine, found: list[engines.Engine | str]) -> None:
    there = [one for one in found if not isinstance(one, str)]
    ours, *theirs = [common.measure(one) for one in (engine, *there)]
    table.head("whole commands", *(peer.name for peer in there))
    for key, (what, asked) in common.FIGURES.items():
        table.line(what, asked, ours[key], *(peer.get(key) for peer in theirs))
    for sentence in found:
        if isinstance(sentence, str):
            print(sentence)


def _ours_alone(table: Table, engine: engines.Engine) -> None:
    table.head("a running stack")
    whole, own = inside.health_checks(engine)
    table.line("100 command checks a second, of one core", at_most(0.15, "%"), whole)
    table.line("  without the programs that are run", shown("%"), own)
    table.line("  a hundred of these programs alone, spawned", shown("%"), inside.programs())
    table.line("at rest with 200 services, of one core", at_most(0.01, "%"), inside.idle(engine))
    table.line("saved file → new version running", at_most(0.3, "ms"), sources.saved(engine))
    table.line("git push and webhook → new version running", at_most(1.0, "ms"), sources.pushed(engine))
    for what, seconds in drift.seen(engine).items():
        table.line(f"{what} → told as drift", at_most(1.0, "ms"), seconds)
    failed, made, seconds = rollout.failed(engine)
    what = f"requests failed of {made:,} while {rollout.REPLICAS} replicas changed"
    table.line(what, at_most(0, ""), failed, note=f"in {seconds:.1f} s, {rollout.RATE} a second")


def _launcher(table: Table) -> None:
    table.head("the launcher alone")
    one, execs = asyncio.run(birth.measure())
    table.line("one container, warm, with network and limits", at_most(0.008, "ms"), one)
    table.line("exec true", at_most(0.003, "ms"), execs)
    asyncio.run(launcher.main())


if __name__ == "__main__":
    main()
