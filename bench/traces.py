"""Requests and nodes to place: production traces where they lie beside the checkout, and a mix of our own otherwise.

The traces are found in `sched-data/` below $PYORCH_SHARED or ../shared.
"""

from __future__ import annotations

import csv
import math
import os
import random
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.scheduler.node import Node, Request
from orchestrator.scheduler.packing import Load

MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Job:
    """A request that arrives and leaves (seconds)."""

    request: Request
    arrives: float
    leaves: float


def folder() -> Path | None:
    shared = Path(os.environ.get("PYORCH_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    return shared / "sched-data" if (shared / "sched-data").is_dir() else None


def openb_requests(data: Path) -> list[Request]:
    rows = _rows(data / "openb" / "openb_pod_list_default.first_third.csv")
    return [Request(int(row["cpu_milli"]) / 1000, int(row["memory_mib"]) * MIB) for row in rows]


def openb_nodes(data: Path) -> list[Node]:
    rows = _rows(data / "openb" / "openb_node_list_all_node.every_third.csv")
    return [Node(row["sn"], int(row["cpu_milli"]) / 1000, int(row["memory_mib"]) * MIB) for row in rows]


def azure_jobs(data: Path) -> list[Job]:
    jobs = []
    for row in _rows(data / "azure-vm" / "azure_vm_600.first_third.csv"):
        start = int(row["start_ms"]) / 1000
        request = Request(float(row["cores"]), int(row["memory_mib"]) * MIB)
        jobs.append(Job(request, start, start + int(row["duration_ms"]) / 1000))
    return jobs


def leaning(requests: Sequence[Request], memory_per_core: float, count: int = 10_000) -> list[Request]:
    """About `count` of the same shapes, the frequent ones still frequent, but with this mean of memory (GiB) to cpus:
    exponential tilting, which changes a distribution least for a given mean (Csiszár 1975)."""
    shapes = [(one, number, one.memory / GIB - memory_per_core * one.cpus) for one, number in Counter(requests).items()]
    low, high = -2.0, 2.0
    for _ in range(60):
        tilt = (low + high) / 2
        weights = [number * math.exp(tilt * lean) for _, number, lean in shapes]
        heavy = sum(weight * lean for weight, (_, _, lean) in zip(weights, shapes, strict=True)) > 0
        low, high = (low, tilt) if heavy else (tilt, high)
    whole = sum(weights)
    parts = zip(shapes, weights, strict=True)
    return [one for (one, _, _), weight in parts for _ in range(round(count * weight / whole))]


def alibaba_requests(data: Path, most: int = 8000) -> list[Request]:
    """Instances of batch tasks on machines of 64 cores and 256 GiB; memory is given as a share of a machine."""
    found: list[Request] = []
    for row in _rows(data / "alibaba-batch" / "jobs.first_third.csv"):
        request = Request(float(row["cpu"]), int(float(row["memory"]) * 256 * GIB))
        found += [request] * min(int(row["instances_num"]), most - len(found))
        if len(found) >= most:
            break
    return found


def compose_mix(count: int, seed: int) -> list[Request]:
    """What Compose files ask for: many small services, some databases, few large ones."""
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        kind = dice.random()
        if kind < 0.6:
            found.append(Request(dice.choice([0.1, 0.25, 0.5]), dice.randint(2, 16) * 32 * MIB))
        elif kind < 0.9:
            found.append(Request(dice.choice([0.5, 1.0, 2.0]), dice.randint(4, 32) * 128 * MIB))
        else:
            found.append(Request(dice.choice([2.0, 4.0]), dice.randint(2, 8) * GIB))
    return found


def jobs(count: int, seed: int) -> list[Job]:
    """The Compose mix, coming and going: exponential times, fifty there at a time for each node's worth."""
    dice = random.Random(seed)
    found, now = [], 0.0
    for request in compose_mix(count, seed):
        now += dice.expovariate(1.0)
        found.append(Job(request, now, now + dice.expovariate(1 / 400)))
    return found


def vectors(data: Path, name: str) -> Iterator[tuple[Load, int, int]]:
    """Published vector-bin-packing instances of three dimensions and 60 or 120 things whose optimum is known: (what is
    to be packed, the optimum, the best that any published heuristic found)."""
    with open(data / "vbp" / f"{name}_summary_known.replicas_0-2.tsv", newline="") as file:
        known = {row["instance_name"]: row for row in csv.DictReader(file, delimiter="\t")}
    with tarfile.open(data / "vbp" / f"{name}_instances.replicas_0-2.tar.gz") as archive:
        for member in archive:
            opened = archive.extractfile(member)
            row = known.get(Path(member.name).stem)
            if opened is None or row is None or int(row["OPT"]) <= 0:
                continue
            dimensions, *numbers = map(int, opened.read().split())
            size, (_, *rest) = numbers[:dimensions], numbers[dimensions:]
            items = [rest[at : at + dimensions + 1] for at in range(0, len(rest), dimensions + 1)]
            if dimensions == 3 and sum(item[-1] for item in items) in (60, 120):
                sizes = tuple(tuple(part / whole for part, whole in zip(item, size, strict=False)) for item in items)
                yield Load(sizes, tuple(item[-1] for item in items)), int(row["OPT"]), int(row["best_overall"])


def equal(count: int, cpus: float, memory: int) -> list[Node]:
    return [Node(f"n{number}", cpus, memory) for number in range(count)]


def mixed(count: int, shapes: list[tuple[float, int]]) -> list[Node]:
    return [Node(f"n{number}", *shapes[number % len(shapes)]) for number in range(count)]


def draws(requests: list[Request], seed: int) -> Iterator[Request]:
    """Endless arrivals, drawn from a trace with replacement."""
    dice = random.Random(seed)
    while True:
        yield dice.choice(requests)


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
