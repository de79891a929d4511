"""Why a request goes nowhere: each filter with the number of nodes it rules out, the nearest node, what would help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from orchestrator import units
from orchestrator.scheduler.faults import Faults, faults, free, shortage
from orchestrator.scheduler.fixes import fixes
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.node import ALL, Fix, Nearest, Node, Reason, Refused, Request
from orchestrator.scheduler.score import CORE

TOLD = 2  # fixes in a sentence; the data has them all


def refuse(fleet: Fleet, request: Request, subject: str = "", only: str | None = None) -> Refused:
    """The whole explanation. `subject`: the replica's name; fixes speak of its service. `only`: of this node alone."""
    if not fleet.nodes:
        return Refused(f"needs {amount(request)}; there is no node")
    found = faults(fleet, request)
    if only is not None:
        found = [found[fleet.names[only]]]
    reasons = tally(found)
    near = nearest(fleet, found)
    ways = tuple(fixes(fleet, request, found, subject)) if only is None else ()
    sentence = f"needs {amount(request)}; {near.text}"
    if len(found) > 1:
        counts = ", ".join(f"{reason.nodes} {reason.text}" for reason in reasons)
        sentence = f"needs {amount(request)}; of {len(fleet.nodes)} nodes {counts}; nearest: {near.text}"
    return Refused(sentence + told(ways), reasons, near, ways)


def told(ways: Sequence[Fix]) -> str:
    """The end of the sentence: the first fixes; a new node only where there is no other way."""
    words = [way.text for way in ways if way.kind != "node"][:TOLD] or [way.text for way in ways[:1]]
    return f"; would fit: {', or '.join(words)}" if words else ""


def tally(found: Sequence[Faults]) -> tuple[Reason, ...]:
    """Each filter (and each way in which it says no) with the number of nodes it rules out by itself."""
    counts = Counter((name, text) for fault in found for name, text in fault.found.items())
    return tuple(Reason(name, count, text) for (name, text), count in counts.most_common())


def nearest(fleet: Fleet, found: Sequence[Faults]) -> Nearest:
    """The node with the fewest faults that room cannot mend, of those the one that lacks least."""

    def distance(fault: Faults) -> tuple[int, float, int]:
        others = sum(name not in ("cpus", "memory") for name in fault.found)
        return others, shortage(fault, fleet.nodes[fault.node]), fault.node

    fault = min(found, key=distance)
    node = fleet.nodes[fault.node]
    short: dict[str, float] = {}
    if fault.cpu_short:
        short["cpus"] = fault.cpu_short / CORE
    if fault.memory_short:
        short["memory"] = fault.memory_short
    return Nearest(node.name, short, _text(fleet, fault, node))


def _text(fleet: Fleet, fault: Faults, node: Node) -> str:
    others = [text for name, text in fault.found.items() if name not in ("cpus", "memory")]
    if others:
        return f"{node.name} is {' and '.join(others)}"
    cpus, memory = free(fleet, fault.node)
    return (
        f"{node.name} has {units.human_cpus(cpus)} cpus and {size(memory)} free"
        f" of {units.human_cpus(node.cpus * node.cpu_ratio)} and {size(int(node.memory * node.memory_ratio))}"
    )


def amount(request: Request) -> str:
    """What is asked, in words: "1.5 cpus and 512 MiB"."""
    parts = [f"{units.human_cpus(request.cpus)} {'cpu' if request.cpus == 1 else 'cpus'}"] if request.cpus else []
    parts += [size(request.memory)] if request.memory else []
    parts += [devices(kind, count) for kind, count in request.devices]
    parts += [f"port {port}" for port in request.ports]
    parts += [f"runtime {request.runtime}"] if request.runtime else []
    parts += [f"architecture {request.architecture}"] if request.architecture else []
    if request.spare_cpus or request.spare_memory:
        spare = Request(request.spare_cpus, request.spare_memory)
        parts.append(f"{amount(spare)} to spare")
    return " and ".join(parts) or "no reserved resources"


def devices(kind: str, count: int) -> str:
    return f"{'every' if count == ALL else count} {kind}"


def size(count: int) -> str:
    """Bytes as people say them: `512 MiB`, `3.2 GiB`."""
    for unit, unit_size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= unit_size:
            return f"{round(count / unit_size, 1):g} {unit}"
    return f"{count} bytes"
