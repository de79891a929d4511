"""What keeps each node of a fleet from taking a request: every filter asked of every node, none hides another."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.scheduler.filters import DYNAMIC, STATIC
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.load import Load
from orchestrator.scheduler.node import Node, Request
from orchestrator.scheduler.score import CORE, micro

ROOM = ("cpus", "memory")


@dataclass(frozen=True, slots=True)
class Faults:
    """One node: filter → what is wrong; and how much is lacking (millionths of a core, bytes)."""

    node: int
    found: dict[str, str]
    cpu_short: int
    memory_short: int

    def only(self, *names: str) -> bool:
        """Whether these filters, and no others, rule the node out."""
        return bool(self.found) and self.found.keys() <= set(names)


def faults(fleet: Fleet, request: Request) -> list[Faults]:
    """For every node, in the fleet's order. Those of a class or a state are only looked at once."""
    static = [_static(request, node) for node in fleet.classes]
    looks_at_load = [rule for name, rule in DYNAMIC.items() if name not in ROOM]
    names = [name for name in DYNAMIC if name not in ROOM]
    particular = bool(
        request.per_node or request.ports or request.devices or request.pids or request.volumes or request.affinities
    )
    by_name = any(one.key in ("node.hostname", "node.id") for one in request.constraints)
    least_cpu = micro(request.cpus + request.spare_cpus)
    least_memory = request.memory + request.spare_memory
    result = []
    for number, node in enumerate(fleet.nodes):
        kind, cpu, memory = fleet.states[fleet.state[number]]
        found = dict(_static(request, node) if by_name else static[kind])
        if particular:
            load = fleet.load(number)
            for name, rule in zip(names, looks_at_load, strict=True):
                if text := rule(request, node, load):
                    found[name] = text
            for volume in request.volumes:
                if fleet.volumes.get(volume, number) != number:
                    there = fleet.volumes[volume]
                    where = f"on {fleet.nodes[there].name}" if there >= 0 else "its node is gone"
                    found["volume"] = f"without volume {volume} ({where})"
        cpu_short = max(least_cpu - cpu, 0) if least_cpu else 0
        memory_short = max(least_memory - memory, 0) if least_memory else 0
        if cpu_short:
            found["cpus"] = "short of cpus"
        if memory_short:
            found["memory"] = "short of memory"
        result.append(Faults(number, found, cpu_short, memory_short))
    return result


def _static(request: Request, node: Node) -> dict[str, str]:
    nothing = Load()
    return {name: text for name, rule in STATIC.items() if (text := rule(request, node, nothing))}


def shortage(fault: Faults, node: Node) -> float:
    """How much is lacking, as shares of the node."""
    cpus = fault.cpu_short / CORE / (node.cpus or 1.0)
    return cpus + fault.memory_short / (node.memory or 1)


def free(fleet: Fleet, number: int) -> tuple[float, int]:
    """Free cores and bytes of a node, at least 0."""
    _, cpu, memory = fleet.states[fleet.state[number]]
    return max(cpu, 0) / CORE, max(memory, 0)
