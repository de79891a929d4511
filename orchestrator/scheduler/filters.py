"""The hard filters, each with its explanation. A new one is a function and a row of `FILTERS`.

A filter says None where the node can take the request, else what is wrong with the node in a few words. Filters in
`STATIC` look at the node alone; the others also at what lies there already.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping

from orchestrator.scheduler.load import Load
from orchestrator.scheduler.node import ALL, Constraint, Node, Request

Filter = Callable[[Request, Node, Load], str | None]
SLACK = 1e-9  # cpus are written as decimals: 0.1 + 0.2 must still fit into 0.3
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386"}


def ready(_request: Request, node: Node, _load: Load) -> str | None:
    return None if node.ready else "not ready"


def drained(_request: Request, node: Node, _load: Load) -> str | None:
    return "drained" if node.drained else None


def cordoned(_request: Request, node: Node, _load: Load) -> str | None:
    return "cordoned" if node.cordoned and not node.drained else None


def architecture(request: Request, node: Node, _load: Load) -> str | None:
    """The architecture by its Go name (amd64), as images give it; a node that says nothing takes any."""
    if not request.architecture or not node.architecture:
        return None
    wrong = canonical(node.architecture) != canonical(request.architecture)
    return f"not {canonical(request.architecture)}" if wrong else None


def runtime(request: Request, node: Node, _load: Load) -> str | None:
    return f"without runtime {request.runtime}" if request.runtime and request.runtime not in node.runtimes else None


def constraints(request: Request, node: Node, _load: Load) -> str | None:
    failed = next((one for one in request.constraints if not holds(one, node)), None)
    return f"against {failed}" if failed else None


def required_labels(request: Request, node: Node, _load: Load) -> str | None:
    for one in request.affinities:
        if one.required and one.label and (node.labels.get(one.label[0]) == one.label[1]) != (one.weight >= 0):
            return f"not {one}"
    return None


def per_node(request: Request, _node: Node, load: Load) -> str | None:
    full = request.per_node and load.services[request.service] >= request.per_node
    return f"with {request.per_node} of it already" if full else None


def neighbours(request: Request, _node: Node, load: Load) -> str | None:
    """Affinities to services that are required."""
    for one in request.affinities:
        if one.required and one.service:
            there = load.services[one.service] > 0
            if there != (one.weight >= 0):
                return f"{'without' if one.weight >= 0 else 'with'} {one.service.rpartition('/')[2]}"
    return None


def host_ports(request: Request, _node: Node, load: Load) -> str | None:
    """Replicas of one service share its ports: the node spreads what comes in over them."""
    for port in request.ports:
        if any(port.clashes(other) and (not owner or owner != request.service) for other, owner in load.ports):
            return f"with port {port} taken"
    return None


def devices(request: Request, node: Node, load: Load) -> str | None:
    for kind, count in request.devices:
        if lacks(count, node.devices.get(kind, 0), load.devices[kind]):
            return f"short of {kind}"
    return None


def lacks(count: int, there: int, taken: int) -> bool:
    """Whether `count` devices (or ALL of them) are not to be had from so many, of which so many are taken."""
    return taken + (max(there, 1) if count == ALL else count) > there


def pids(request: Request, node: Node, load: Load) -> str | None:
    return "short of pids" if request.pids and node.pids and load.pids + request.pids > node.pids else None


def cpus(request: Request, node: Node, load: Load) -> str | None:
    asked = request.cpus + request.spare_cpus
    return "short of cpus" if asked and load.cpus + asked > node.cpus * node.cpu_ratio + SLACK else None


def memory(request: Request, node: Node, load: Load) -> str | None:
    asked = request.memory + request.spare_memory
    return "short of memory" if asked and load.memory + asked > int(node.memory * node.memory_ratio) else None


# In the order in which they are told.
STATIC: Mapping[str, Filter] = {
    "ready": ready,
    "drained": drained,
    "cordoned": cordoned,
    "architecture": architecture,
    "runtime": runtime,
    "constraint": constraints,
    "label": required_labels,
}
DYNAMIC: Mapping[str, Filter] = {
    "per-node": per_node,
    "affinity": neighbours,
    "port": host_ports,
    "device": devices,
    "pids": pids,
    "cpus": cpus,
    "memory": memory,
}
FILTERS: Mapping[str, Filter] = {**STATIC, **DYNAMIC}


def canonical(architecture: str) -> str:
    word = architecture.lower()
    return ARCHITECTURES.get(word, word)


def here() -> str:
    """The architecture of this machine by its Go name."""
    return canonical(platform.machine())


def value_of(key: str, node: Node) -> str | None:
    """What a constraint's key says of a node; None: an unknown key (`stack.placement` refuses those)."""
    match key.split(".", 2):
        case ["node", "hostname" | "id"]:
            return node.name
        case ["node", "role"]:
            return node.role
        case ["node", "platform", "os"]:
            return node.os
        case ["node", "platform", "arch"]:
            return canonical(node.architecture)
        case ["node", "labels", label]:
            return node.labels.get(label, "")
        case ["engine", "labels", label]:
            return node.engine_labels.get(label, "")
    return None


def holds(constraint: Constraint, node: Node) -> bool:
    """Values are compared without regard to case, as Swarm does; a label that is not there is an empty one."""
    wanted = canonical(constraint.value) if constraint.key == "node.platform.arch" else constraint.value
    return ((value_of(constraint.key, node) or "").lower() == wanted.lower()) == constraint.equal
