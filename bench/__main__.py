"""Prints the table: what, at most, measured here; and the same stacks on the other engines that are installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

from bench import birth, common, config, engines, host, inside, launcher, logs, scheduler, sources

# Name of a figure in `common` → what it is, and its limit in seconds.
SIDE_BY_SIDE = {
    "up": ("up -d --wait of 100 services", 1.0),
    "again": ("the same again, nothing changed", 0.15),
    "change": ("one of 50 changed, up -d", 0.25),
    "down": ("down of 100", 0.6),
    "exec": ("exec true, whole command", 0.1),
    "ps": ("ps of 100, whole command", 0.08),
    "chain": ("chain of 10, each waits for the former's health", 1.0),
}


def main() -> None:
    if sys.argv[1:] == ["config"]:
        return config.main()
    if sys.argv[1:] == ["scheduler"]:  # needs neither root nor containers
        return scheduler.main()
    if os.geteuid() != 0:
        sys.exit("cannot measure containers: this needs root; run it with sudo")
    directory = Path(tempfile.mkdtemp(prefix="pyorch-bench-"))
    print("\n".join(host.facts()), "", sep="\n")
    engine = engines.ours(directory)
    try:
        _side_by_side(engine, engines.peers(directory))
        _ours_alone(engine)
    finally:
        engines.stop(engine)
        shutil.rmtree(directory)
    print("\nThe launcher alone, without agent and network")
    asyncio.run(launcher.main())
    print("\nLog lines of 100 bytes (at least 100 MB/s taken in, 500,000 lines/s read back)")
    asyncio.run(logs.main(200))
    print()
    config.main()
    print()
    scheduler.main()


def _side_by_side(engine: engines.Engine, peers: list[engines.Engine | str]) -> None:
    """Medians of whole commands, for every engine that is there."""
    measured = {engine.name: common.measure(engine)}
    for peer in peers:
        measured[peer if isinstance(peer, str) else peer.name] = {} if isinstance(peer, str) else common.measure(peer)
    print(f"{'what':50} {'at most':>9}", *(f"{name:>14}" for name in measured))
    for key, (what, limit) in SIDE_BY_SIDE.items():
        cells = [f"{figures[key]:12.3f} s" if key in figures else f"{'-':>14}" for figures in measured.values()]
        print(f"{what:50} {limit:7.2f} s", *cells)
    for peer in peers:
        if isinstance(peer, str):
            print(f"{peer} is not installed")


def _ours_alone(engine: engines.Engine) -> None:
    print()
    _line("killed container → replacement running", "20 ms", f"{inside.replacement(engine) * 1e3:.1f} ms")
    more, all_three = inside.memory(engine)
    _line("memory of one more container, outside it (PSS)", "100 kB", f"{more / 1e3:.1f} kB")
    _line("agent, launcher and dns with 100 services (PSS)", "80 MB", f"{all_three / 1e6:.1f} MB")
    whole, own = inside.health_checks(engine)
    _line("100 checks a second, of one core", "15 %", f"{whole:.1%} ({own:.1%} without the programs run)")
    _line("saved file → new version running", "300 ms", f"{sources.saved(engine) * 1e3:.0f} ms")
    _line("git push and webhook → new version running", "1 s", f"{sources.pushed(engine):.2f} s")
    one, execs = asyncio.run(birth.measure())
    _line("one container, launcher warm, network and limits", "8 ms", f"{one * 1e3:.1f} ms")
    _line("exec true, in the launcher alone", "3 ms", f"{execs * 1e3:.1f} ms")


def _line(what: str, limit: str, measured: str) -> None:
    print(f"{what:50} {limit:>9} {measured:>14}", flush=True)


if __name__ == "__main__":
    main()
