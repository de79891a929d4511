"""The smallest single changes that would make a refused request fit. Each is tried on the fleet before it is named.

*Smallest*: no lower of a resource by less, no stop or move of a less important or smaller replica would be enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator import units
from orchestrator.scheduler.clearing import clear
from orchestrator.scheduler.faults import Faults, free
from orchestrator.scheduler.filters import holds
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.node import ALL, Fix, Node, Request
from orchestrator.scheduler.score import CORE
from orchestrator.scheduler.want import suits

MIB = 1 << 20


def fixes(fleet: Fleet, request: Request, found: Sequence[Faults], subject: str) -> Iterator[Fix]:
    """In the order in which a user would like to try them."""
    name = service_of(request, subject)
    yield from lower(fleet, request, found, name)
    yield from clear(fleet, request, found)
    yield from admit(fleet, found)
    yield from loosen(fleet, request, found, name)
    yield from add_node(fleet, request)


def service_of(request: Request, subject: str) -> str:
    return request.service.rpartition("/")[2] or subject or "it"


# asking for less


def lower(fleet: Fleet, request: Request, found: Sequence[Faults], name: str) -> Iterator[Fix]:
    """Ask for less: of one resource where that is enough, else of cpus and memory both."""
    cpus = max((free(fleet, one.node)[0] for one in found if one.only("cpus")), default=0.0) - request.spare_cpus
    memory = max((free(fleet, one.node)[1] for one in found if one.only("memory")), default=0) - request.spare_memory
    less_cpus, less_memory = floor_cpus(cpus), floor_bytes(memory)
    by_memory = less_memory > 0 and _fits(fleet, replace(request, memory=less_memory))
    by_cpus = less_cpus > 0 and _fits(fleet, replace(request, cpus=less_cpus))
    if by_memory:
        yield Fix("lower", f"lower {name} {_memory(request, less_memory)}", subject=name, memory=less_memory)
    if by_cpus:
        yield Fix("lower", f"lower {name} {_cpus(request, less_cpus)}", subject=name, cpus=less_cpus)
    if not by_memory and not by_cpus:
        yield from _lower_both(fleet, request, found, name)
    yield from _lower_counts(fleet, request, found, name)


def _lower_both(fleet: Fleet, request: Request, found: Sequence[Faults], name: str) -> Iterator[Fix]:
    best: tuple[float, float, int] | None = None
    for one in found:
        if one.only("cpus", "memory") and one.cpu_short and one.memory_short:
            cpus, memory = free(fleet, one.node)
            cpus = floor_cpus(min(cpus - request.spare_cpus, request.cpus))
            memory = floor_bytes(min(memory - request.spare_memory, request.memory))
            if cpus > 0 and memory > 0:
                share = cpus / request.cpus + memory / request.memory
                best = max(best, (share, cpus, memory)) if best else (share, cpus, memory)
    if best and _fits(fleet, replace(request, cpus=best[1], memory=best[2])):
        text = f"lower {name} {_cpus(request, best[1])} and {_memory(request, best[2])}"
        yield Fix("lower", text, subject=name, cpus=best[1], memory=best[2])


def _lower_counts(fleet: Fleet, request: Request, found: Sequence[Faults], name: str) -> Iterator[Fix]:
    """Fewer processes, or fewer devices of one kind."""
    left = [_pids_left(fleet, one.node) for one in found if one.only("pids")]
    if left and (pids := max(left)) > 0:
        text = f"lower {name} pids {request.pids} → {pids}"
        yield Fix("lower", text, subject=name, resource="pids", count=pids)
    for kind, count in request.devices:
        rest = [(other, less) for other, less in request.devices if other != kind]
        there = [_left(fleet, one.node, kind) for one in found if one.only("device")]
        less = max((one for one in there if 0 < one < count), default=0)
        asked = tuple(sorted([*rest, (kind, less)]))
        if less and _fits(fleet, replace(request, devices=asked)):
            text = f"lower {name} {kind} {'all' if count == ALL else count} → {less}"
            yield Fix("lower", text, subject=name, resource=kind, count=less)


def _pids_left(fleet: Fleet, number: int) -> int:
    return fleet.nodes[number].pids - fleet.load(number).pids


def _left(fleet: Fleet, number: int, kind: str) -> int:
    return fleet.nodes[number].devices.get(kind, 0) - fleet.load(number).devices[kind]


def _cpus(request: Request, less: float) -> str:
    return f"cpus {units.human_cpus(request.cpus)} → {units.human_cpus(less)}"


def _memory(request: Request, less: int) -> str:
    return f"memory {word(request.memory)} → {word(less)}"


# other conditions


def admit(fleet: Fleet, found: Sequence[Faults]) -> Iterator[Fix]:
    """Nodes that would take it, were they allowed to."""
    shut = next((one for one in found if one.only("cordoned", "drained")), None)
    if shut is not None:
        name = fleet.nodes[shut.node].name
        yield Fix("uncordon", f"uncordon {name}", name)


def loosen(fleet: Fleet, request: Request, found: Sequence[Faults], name: str) -> Iterator[Fix]:
    """Give up one condition, or make one node meet it."""
    for constraint in request.constraints:
        rest = tuple(one for one in request.constraints if one is not constraint)
        node = fleet.pick(replace(request, constraints=rest))
        if node is not None:
            yield Fix("constraint", f"drop the constraint {constraint} of {name}", subject=str(constraint))
            key, label, there = constraint.key, f"{constraint.key[12:]}={constraint.value}", fleet.nodes[node]
            named = constraint.equal and key.startswith("node.labels.")
            labelled = replace(there, labels={**there.labels, key[12:]: constraint.value})
            if named and all(holds(one, labelled) for one in request.constraints) and suits(request, labelled):
                yield Fix("label", f"label {there.name} {label}", there.name, label)
    if request.runtime and _fits(fleet, replace(request, runtime="")):
        yield Fix("runtime", f"drop runtime: {request.runtime} of {name}", subject=request.runtime)
    if request.ports and _fits(fleet, replace(request, ports=())):
        ports = ", ".join(map(str, request.ports))
        yield Fix("port", f"publish {name} on another port than {ports}, or on any (no host port)", subject=ports)
    if request.per_node and _fits(fleet, replace(request, per_node=request.per_node + 1)):
        text = f"raise max_replicas_per_node of {name} from {request.per_node} to {request.per_node + 1}"
        yield Fix("per_node", text, subject=name)
    for affinity in request.affinities:
        rest_of = tuple(one for one in request.affinities if one is not affinity)
        if affinity.required and _fits(fleet, replace(request, affinities=rest_of)):
            yield Fix("affinity", f"make '{affinity}' of {name} a wish (no required: true)", subject=str(affinity))


# more nodes


def add_node(fleet: Fleet, request: Request) -> Iterator[Fix]:
    """A node that has what is asked for; nothing where even that would not help."""
    pinned = any(volume in fleet.volumes for volume in request.volumes)
    beside = any(one.required and one.service and one.weight >= 0 for one in request.affinities)
    node = _made_for(request)
    there = {one.name.lower() for one in fleet.nodes}
    taken = node.name.lower() in there
    if (
        pinned
        or beside
        or taken
        or not suits(request, node)
        or not all(holds(one, node) for one in request.constraints)
    ):
        return
    cpus, memory = request.cpus + request.spare_cpus, request.memory + request.spare_memory
    parts = [f"{units.human_cpus(cpus)} {'cpu' if cpus == 1 else 'cpus'}"] if cpus else []
    parts += [word(memory)] if memory else []
    parts += [f"{1 if count == ALL else count} {kind}" for kind, count in request.devices]
    parts += [f"runtime {request.runtime}"] if request.runtime else []
    parts += [f"architecture {request.architecture}"] if request.architecture else []
    parts += [str(one) for one in request.constraints]
    parts += [f"label {'='.join(one.label)}" for one in request.affinities if one.required and one.label]
    room = f" with at least {' and '.join(parts)}" if parts else ""
    yield Fix("node", f"add a node{room}", cpus=cpus, memory=memory)


def _made_for(request: Request) -> Node:
    """A node with all that its conditions speak of; they may contradict each other all the same."""
    told = {one.key: one.value for one in request.constraints if one.equal}
    labels = {key[12:]: value for key, value in told.items() if key.startswith("node.labels.")}
    labels |= {
        one.label[0]: one.label[1] for one in request.affinities if one.required and one.label and one.weight >= 0
    }
    return Node(
        told.get("node.hostname") or told.get("node.id") or "\0",
        request.cpus,
        request.memory,
        labels=labels,
        runtimes=(request.runtime,),
        architecture=request.architecture or told.get("node.platform.arch", ""),
        os=told.get("node.platform.os", "linux"),
        role=told.get("node.role", "worker"),
        engine_labels={key[14:]: value for key, value in told.items() if key.startswith("engine.labels.")},
    )


def _fits(fleet: Fleet, request: Request) -> bool:
    return fleet.pick(request) is not None


# amounts as words that can be written into a file


def floor_bytes(amount: int) -> int:
    """At most `amount`: whole MiB where there are any."""
    return amount // MIB * MIB if amount >= MIB else max(amount, 0)


def floor_cpus(cpus: float) -> float:
    """At most `cpus`, in thousandths."""
    return max(int(cpus * 1000 + 1000 / CORE), 0) / 1000


def word(amount: int) -> str:
    """The word that `units.size` reads back as `amount`, or as near as one decimal comes."""
    short = units.human_bytes(amount)
    return short if units.size(short) == amount or amount % MIB else f"{amount // MIB}M"
