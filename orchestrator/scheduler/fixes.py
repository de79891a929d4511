"""The smallest single changes that would make a refused request fit. Each is tried on the fleet before it is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator import units
from orchestrator.scheduler.faults import Faults, free
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.node import Fix, Request
from orchestrator.scheduler.score import CORE, micro

TRIES = 24  # replicas that are tried to be moved
MIB = 1 << 20


def fixes(fleet: Fleet, request: Request, found: Sequence[Faults], subject: str) -> Iterator[Fix]:
    """In the order in which a user would like to try them."""
    name = service_of(request, subject)
    yield from lower(fleet, request, found, name)
    yield from clear(fleet, request, found)
    yield from admit(fleet, found)
    yield from loosen(fleet, request, found, name)
    yield add_node(request)


def service_of(request: Request, subject: str) -> str:
    return request.service.rpartition("/")[2] or subject or "it"


def lower(fleet: Fleet, request: Request, found: Sequence[Faults], name: str) -> Iterator[Fix]:
    """Ask for less: of one resource where that is enough, else of both."""
    cpus = max((free(fleet, one.node)[0] for one in found if one.only("cpus")), default=0.0) - request.spare_cpus
    memory = max((free(fleet, one.node)[1] for one in found if one.only("memory")), default=0) - request.spare_memory
    less_cpus, less_memory = floor_cpus(cpus), floor_bytes(memory)
    if less_memory > 0 and _fits(fleet, replace(request, memory=less_memory)):
        text = f"lower {name} memory {_word(request.memory)} → {_word(less_memory)}"
        yield Fix("lower", text, subject=name, memory=less_memory)
    if less_cpus > 0 and _fits(fleet, replace(request, cpus=less_cpus)):
        text = f"lower {name} cpus {units.human_cpus(request.cpus)} → {units.human_cpus(less_cpus)}"
        yield Fix("lower", text, subject=name, cpus=less_cpus)
    if less_memory <= 0 and less_cpus <= 0:
        yield from _lower_both(fleet, request, found, name)


def _lower_both(fleet: Fleet, request: Request, found: Sequence[Faults], name: str) -> Iterator[Fix]:
    best: tuple[float, float, int] | None = None
    for one in found:
        if one.only("cpus", "memory"):
            cpus, memory = free(fleet, one.node)
            cpus = floor_cpus(min(cpus - request.spare_cpus, request.cpus))
            memory = floor_bytes(min(memory - request.spare_memory, request.memory))
            if cpus > 0 and memory > 0:
                share = cpus / request.cpus + memory / request.memory
                best = max(best, (share, cpus, memory)) if best else (share, cpus, memory)
    if best and _fits(fleet, replace(request, cpus=best[1], memory=best[2])):
        text = (
            f"lower {name} cpus {units.human_cpus(request.cpus)} → {units.human_cpus(best[1])}"
            f" and memory {_word(request.memory)} → {_word(best[2])}"
        )
        yield Fix("lower", text, subject=name, cpus=best[1], memory=best[2])


def clear(fleet: Fleet, request: Request, found: Sequence[Faults]) -> Iterator[Fix]:
    """Take one replica away from a node: the smallest that is enough, moved if it fits elsewhere, else stopped."""
    enough: list[tuple[int, float, str, int]] = []
    for one in found:
        if not one.only("cpus", "memory", "port", "device", "pids"):
            continue
        node = fleet.nodes[one.node]
        for name, there in fleet.occupants[one.node].items():
            own = there.service and there.service == request.service
            if own or micro(there.cpus) < one.cpu_short or there.memory < one.memory_short:
                continue
            share = there.cpus / (node.cpus or 1.0) + there.memory / (node.memory or 1)
            enough.append((there.priority, share, name, one.node))
    enough.sort()
    stopped = False
    for _, _, name, number in enough[:TRIES]:
        there, _ = fleet.drop(name)
        fits, target = _tried(fleet, request, there, number)
        where, frees = fleet.nodes[number].name, _frees(there)
        fleet.put(there, where, name)
        if fits and target is not None:
            text = f"move {name} from {where} to {fleet.nodes[target].name} (frees {frees})"
            yield Fix("move", text, where, name)
            return
        if fits and not stopped:
            stopped = True
            yield Fix("stop", f"stop {name} on {where}: frees {frees}", where, name)
    if not enough:
        yield from _stop_stack(fleet, request, found)


def _tried(fleet: Fleet, request: Request, moved: Request, number: int) -> tuple[bool, int | None]:
    """Whether `request` fits on the node, and where `moved` could go then."""
    if not fleet.fits(request, number):
        return False, None
    volumes = dict(fleet.volumes)
    fleet.put(request, fleet.nodes[number].name, "\0")
    target = fleet.pick(moved)
    fleet.drop("\0")
    fleet.volumes = volumes
    return True, target


def _stop_stack(fleet: Fleet, request: Request, found: Sequence[Faults]) -> Iterator[Fix]:
    """No single replica is enough: all of another stack on one node, the smallest that is."""
    own = request.service.partition("/")[0]
    enough: list[tuple[float, str, int, Request]] = []
    for one in found:
        if not one.only("cpus", "memory"):
            continue
        sums: dict[str, Request] = {}
        for there in fleet.occupants[one.node].values():
            stack = there.service.partition("/")[0]
            if stack and stack != own:
                before = sums.get(stack, Request())
                sums[stack] = Request(before.cpus + there.cpus, before.memory + there.memory)
        node = fleet.nodes[one.node]
        for stack, whole in sums.items():
            if micro(whole.cpus) >= one.cpu_short and whole.memory >= one.memory_short:
                share = whole.cpus / (node.cpus or 1.0) + whole.memory / (node.memory or 1)
                enough.append((share, stack, one.node, whole))
    if enough:
        _, stack, number, whole = min(enough, key=lambda entry: entry[:3])
        where = fleet.nodes[number].name
        yield Fix("stop", f"stop instance {stack}: frees {_frees(whole)} on {where}", where, stack)


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
        if any(one.only("constraint") for one in found) and _fits(fleet, replace(request, constraints=rest)):
            yield Fix("constraint", f"drop the constraint {constraint} of {name}", subject=str(constraint))
            node = fleet.pick(replace(request, constraints=rest))
            if node is not None and constraint.equal and constraint.key.startswith("node.labels."):
                label = f"{constraint.key.removeprefix('node.labels.')}={constraint.value}"
                where = fleet.nodes[node].name
                yield Fix("label", f"label {where} {label}", where, label)
    if request.ports and any(one.only("port") for one in found):
        ports = ", ".join(map(str, request.ports))
        yield Fix("port", f"publish {name} on another port than {ports}, or on any (no host port)", subject=ports)
    if request.per_node and _fits(fleet, replace(request, per_node=request.per_node + 1)):
        text = f"raise max_replicas_per_node of {name} from {request.per_node} to {request.per_node + 1}"
        yield Fix("per_node", text, subject=name)
    for affinity in request.affinities:
        rest_of = tuple(one for one in request.affinities if one is not affinity)
        if affinity.required and _fits(fleet, replace(request, affinities=rest_of)):
            yield Fix("affinity", f"make '{affinity}' of {name} a wish (no required: true)", subject=str(affinity))


def add_node(request: Request) -> Fix:
    cpus, memory = request.cpus + request.spare_cpus, request.memory + request.spare_memory
    parts = [f"{units.human_cpus(cpus)} {'cpu' if cpus == 1 else 'cpus'}"] if cpus else []
    parts += [_word(memory)] if memory else []
    parts += [f"{count} {kind}" for kind, count in request.devices]
    parts += [str(one) for one in request.constraints]
    room = f" with at least {' and '.join(parts)}" if parts else ""
    return Fix("node", f"add a node{room}", cpus=cpus, memory=memory)


def _fits(fleet: Fleet, request: Request) -> bool:
    return fleet.pick(request) is not None


def _frees(request: Request) -> str:
    parts = [_word(request.memory)] if request.memory else []
    parts += [f"{units.human_cpus(request.cpus)} cpus"] if request.cpus else []
    return " and ".join(parts) or "its port"


def floor_bytes(amount: int) -> int:
    """At most `amount`, as a short word can say it: tenths of a GiB where that loses little, whole MiB else."""
    if amount >= 10 << 30:
        tenth = amount * 10 >> 30
        return int(tenth / 10 * (1 << 30))
    return amount // MIB * MIB if amount >= MIB else max(amount, 0)


def floor_cpus(cpus: float) -> float:
    """At most `cpus`, in thousandths."""
    return max(int(cpus * 1000 + 1000 / CORE), 0) / 1000


def _word(amount: int) -> str:
    """The word that `units.size` reads back as `amount`, or as near as one decimal comes."""
    word = units.human_bytes(amount)
    return word if units.size(word) == amount or amount % MIB else f"{amount // MIB}M"
