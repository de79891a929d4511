"""A request as a fleet counts it: whole numbers, the classes of nodes that may take it, what it must look out for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.scheduler import filters
from orchestrator.scheduler.load import Load
from orchestrator.scheduler.node import Affinity, Constraint, Node, Request
from orchestrator.scheduler.score import micro

NO_BOUND = -(1 << 62)  # who asks for nothing fits even where more is promised than there is
NAMES = ("node.hostname", "node.id")
_NOTHING = Load()
SPREAD_WEIGHT = 10  # what one replica more in the same place weighs, beside the weights of affinities


@dataclass(frozen=True, slots=True)
class Domain:
    """Classes of nodes that a request's preferences treat alike: the same values of its spread labels, and the same
    sum of its label affinities."""

    values: tuple[str, ...]
    bonus: int
    classes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Want:
    """`cpu` millionths of a core, `memory` bytes; `least_*`: what must be free. `room`: all four of them; requests with
    the same are ranked alike. `particular`: more than free room tells nodes of one state apart."""

    request: Request
    room: tuple[int, int, int, int]
    cpu: int
    memory: int
    least_cpu: int
    least_memory: int
    domains: tuple[Domain, ...]
    particular: bool
    names: tuple[Constraint, ...]  # those that speak of nodes by their names
    wishes: tuple[Affinity, ...]  # soft, towards services
    musts: tuple[Affinity, ...]  # required, towards services


def want(request: Request, classes: Sequence[Node], known: dict[object, tuple[Domain, ...]]) -> Want:
    """`classes`: a node of each class. `known`: domains of requests that ask the same of their nodes."""
    cpu, memory = micro(request.cpus), request.memory
    least_cpu, least_memory = micro(request.cpus + request.spare_cpus), memory + request.spare_memory
    kinds = tuple(one for one in request.constraints if one.key not in NAMES)
    place = (kinds, request.runtime, request.architecture, request.spread, request.affinities)
    terms = (*place, request.devices, request.pids)
    domains = known.get(terms)
    if domains is None:
        domains = known[terms] = _domains(request, classes)
    towards = [one for one in request.affinities if one.service]
    names = tuple(one for one in request.constraints if one.key in NAMES)
    particular = bool(
        request.per_node or request.ports or request.devices or request.pids or request.volumes or towards or names
    )
    return Want(
        request,
        (cpu, memory, least_cpu, least_memory),
        cpu,
        memory,
        least_cpu if least_cpu else NO_BOUND,
        least_memory if least_memory else NO_BOUND,
        domains,
        particular,
        names,
        tuple(one for one in towards if not one.required),
        tuple(one for one in towards if one.required),
    )


def _domains(request: Request, classes: Sequence[Node]) -> tuple[Domain, ...]:
    found: dict[tuple[tuple[str, ...], int], list[int]] = {}
    for number, node in enumerate(classes):
        if suits(request, node):
            values = tuple(filters.value_of(key, node) or "" for key in request.spread)
            bonus = sum(
                one.weight
                for one in request.affinities
                if one.label and not one.required and node.labels.get(one.label[0]) == one.label[1]
            )
            found.setdefault((values, bonus), []).append(number)
    return tuple(Domain(values, bonus, frozenset(members)) for (values, bonus), members in found.items())


def suits(request: Request, node: Node) -> bool:
    """Whether a node of this class can ever take it, whatever lies there. Names of nodes are looked at elsewhere."""
    by_class = (one for one in request.constraints if one.key not in NAMES)
    rules = (rule for key, rule in filters.STATIC.items() if key != "constraint")
    alone = (filters.devices, filters.pids)  # more than a node has is not to be had from it, however little lies there
    return all(filters.holds(one, node) for one in by_class) and not any(
        rule(request, node, _NOTHING) for rule in (*rules, *alone)
    )
