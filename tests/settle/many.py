"""Many random worlds on all cores. As a program: `python tests/settle/many.py WORLDS [FIRST_SEED]` says how many a
second; `bench` prints that figure."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import game

LOT = 50  # worlds handed to a process at a time


def play(seeds: Sequence[int]) -> list[str]:
    """What went wrong, a text a world, with its history."""
    if len(seeds) <= LOT:
        return _lot(seeds)
    lots = [seeds[at : at + LOT] for at in range(0, len(seeds), LOT)]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=_as_in_the_agent) as pool:
        return [wrong for found in pool.map(_lot, lots) for wrong in found]


def _as_in_the_agent() -> None:
    """Next to nothing of what a turn makes is a cycle that must be looked for: see `api.main`."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _lot(seeds: Sequence[int]) -> list[str]:
    return [wrong for seed in seeds if (wrong := game.play(seed)) is not None]


def main() -> None:
    worlds, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began = time.perf_counter()
    wrong = play(range(first, first + worlds))
    seconds = time.perf_counter() - began
    print(
        "\n\n".join(wrong[:3]), f"{worlds} worlds, {len(wrong)} went wrong, {worlds / seconds:.0f} a second", sep="\n"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
