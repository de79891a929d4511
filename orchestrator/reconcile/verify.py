"""Fixes that hold when all is placed anew: a change early in the file shifts what comes after it.

A fix is first found on the nodes as they are in the end (see `scheduler.fixes`). Here it is carried out on paper, and
everything placed again; one that does not help then is replaced by the next that does, or left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from orchestrator import units
from orchestrator.scheduler.fixes import floor_bytes, floor_cpus
from orchestrator.scheduler.node import Fix, Refused, Request
from orchestrator.scheduler.refusal import told

Placed = Mapping[str, str]
Again = Callable[[dict[str, Request]], Placed]  # name → request, in order; what of it is placed, and where
TRIES = 10
LESS = 0.85  # of what did not help


def verified(answer: Refused, name: str, asked: dict[str, Request], before: Placed, again: Again) -> Refused:
    """The refusal of `name` with fixes that were tried with everything placed anew."""
    ways = tuple(_kept(answer.fixes, name, asked, before, again))
    why = answer.why.partition("; would fit: ")[0]
    return replace(answer, why=why + told(ways), fixes=ways)


def _kept(ways: Sequence[Fix], name: str, asked: dict[str, Request], before: Placed, again: Again) -> Iterator[Fix]:
    for way in ways:
        if way.kind == "lower" and not way.resource:
            yield from _lower(way, name, asked, before, again)
        elif way.kind == "stop" and way.subject in asked:
            yield from _stop(way, name, asked, before, again)
        else:
            yield way


def _lower(way: Fix, name: str, asked: dict[str, Request], before: Placed, again: Again) -> Iterator[Fix]:
    """As it was found, or lower still; no other replica may lose its place by it."""
    old = asked[name]
    cpus, memory = way.cpus, way.memory
    for _ in range(TRIES):
        less = replace(old, cpus=old.cpus if cpus is None else cpus, memory=old.memory if memory is None else memory)
        alike = {one: less if request == old else request for one, request in asked.items()}
        found = again(alike)
        if name in found and len(found) > len(before):
            yield replace(way, cpus=cpus, memory=memory, text=_words(way.subject, old, cpus, memory))
            return
        cpus = None if cpus is None else floor_cpus(cpus * LESS)
        memory = None if memory is None else floor_bytes(int(memory * LESS))
        if not (cpus or memory):
            return


def _stop(way: Fix, name: str, asked: dict[str, Request], before: Placed, again: Again) -> Iterator[Fix]:
    """The one that was found, or the next larger that helps."""
    service = asked[name].service
    others = [one for one in before if asked[one].service != service and one != way.subject]
    others.sort(key=lambda one: (asked[one].priority, asked[one].cpus / 4 + asked[one].memory / (8 << 30), one))
    for victim in [way.subject, *others][:TRIES]:
        if name in again({one: request for one, request in asked.items() if one != victim}):
            gone, node = asked[victim], before[victim]
            parts = [units.human_bytes(gone.memory)] if gone.memory else []
            parts += [f"{units.human_cpus(gone.cpus)} cpus"] if gone.cpus else []
            text = f"stop {victim} on {node}: frees {' and '.join(parts)}"
            yield way if victim == way.subject else Fix("stop", text, node, victim)
            return


def _words(subject: str, old: Request, cpus: float | None, memory: int | None) -> str:
    parts = []
    if cpus is not None and cpus != old.cpus:
        parts.append(f"cpus {units.human_cpus(old.cpus)} → {units.human_cpus(cpus)}")
    if memory is not None and memory != old.memory:
        parts.append(f"memory {units.human_bytes(old.memory)} → {units.human_bytes(memory)}")
    return f"lower {subject} {' and '.join(parts)}"
