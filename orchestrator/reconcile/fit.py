"""Would it fit? A stack placed on nodes that are only on paper, by the scheduler that places the real one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from orchestrator.reconcile.admission import beyond
from orchestrator.reconcile.everywhere import homes
from orchestrator.reconcile.replica import named
from orchestrator.reconcile.verify import verified
from orchestrator.scheduler import batch
from orchestrator.scheduler.fleet import Fleet
from orchestrator.scheduler.node import Node, Reason, Refused, Request
from orchestrator.scheduler.refusal import refuse
from orchestrator.stack.model import Service, Stack
from orchestrator.stack.placement import asked

VERIFIED = 3000  # replicas times refused services: with more, fixes are tried on the end state only


@dataclass(frozen=True, slots=True)
class One:
    """A replica that looks for a place."""

    service: str
    slot: int
    name: str
    request: Request


@dataclass(frozen=True, slots=True)
class Fitting:
    """`placed`: with the node of each. `bound`: no placement of all of it needs fewer nodes."""

    placed: tuple[tuple[One, str], ...]
    refused: tuple[tuple[One, Refused], ...]
    nodes_used: int
    bound: int


def fit(stack: Stack, nodes: Sequence[Node], *, at_once: bool = False, fewest: bool = False) -> Fitting:
    """Place every replica; services in the file's order, or all `at_once`. `fewest`: on as few equal nodes as found."""
    ones = list(wanted(stack, nodes))
    outside = _beyond_quota(stack, ones)
    requests = {one.name: one.request for one in ones if one.name not in outside}
    found = batch.fewest(requests, nodes) if fewest and nodes else _in_order(requests, nodes, at_once)
    fleet = Fleet(nodes, Counter(requests.values()).items())
    for name, node in found.items():
        fleet.put(requests[name], node, name)
    refused = [(one, outside[one.name]) for one in ones if one.name in outside]
    left = [one for one in ones if one.name in requests and one.name not in found]
    explained = list(_explained(fleet, left))
    if not fewest and len(ones) * len({one.service for one in left}) <= VERIFIED:
        explained = list(_verified(explained, requests, found, nodes, at_once))
    refused += explained
    if stack.shares.gang and refused:
        first, answer = refused[0]
        why = f"the stack starts as a whole or not at all (gang), and {first.name} {answer.why}"
        refused += [(one, Refused(why, (Reason("gang", len(nodes), "gang"),))) for one in ones if one.name in found]
        found = {}
    number = {one.name: place for place, one in enumerate(ones)}
    refused.sort(key=lambda pair: number[pair[0].name])
    placed = tuple((one, found[one.name]) for one in ones if one.name in found)
    least = batch.bound([one.request for one in ones], [node for node in nodes if node.takes])
    return Fitting(placed, tuple(refused), len(set(found.values())), least)


def _beyond_quota(stack: Stack, ones: Sequence[One]) -> dict[str, Refused]:
    """Those that the stack's quota has no room for, whatever the nodes have."""
    cpus, memory, found = 0.0, 0, {}
    for one in ones:
        why = beyond(stack, one.request, Request(cpus, memory))
        if why is not None:
            found[one.name] = Refused(why, (Reason("quota", 0, "beyond the stack's quota"),))
        else:
            cpus, memory = cpus + one.request.cpus, memory + one.request.memory
    return found


def wanted(stack: Stack, nodes: Sequence[Node]) -> Iterator[One]:
    """Every replica of the stack, services in the order of the file, those of higher priority first."""
    services = sorted(stack.services.values(), key=lambda service: _written(stack, service))
    requests = {service.name: asked(service, stack) for service in services}
    for service in sorted(services, key=lambda service: -requests[service.name].priority):
        everywhere = service.placement.everywhere
        replicas = len(homes(service, stack, tuple(nodes))) if everywhere else service.replicas
        for slot in range(1, replicas + 1):
            yield One(service.name, slot, named(stack.name, service, slot), requests[service.name])


def _written(stack: Stack, service: Service) -> tuple[int, int, int]:
    """Where the service stands in the stack's files."""
    origin = stack.origins.get(f"services.{service.name}")
    if origin is None:
        return (len(stack.files), 0, 0)
    return (stack.files.index(origin.file) if origin.file in stack.files else 0, origin.line, origin.column)


def _in_order(requests: dict[str, Request], nodes: Sequence[Node], at_once: bool) -> dict[str, str]:
    """name → node. At once: of several orders the one that leaves least out, then the one that needs fewest nodes."""
    written = list(requests)
    if not at_once:
        return _one_by_one(written, requests, nodes)
    orders = [*batch.largest_first(requests, nodes), written]
    tried = [_one_by_one(order, requests, nodes) for order in orders]
    return min(tried, key=lambda found: (len(requests) - len(found), len(set(found.values()))))


def _one_by_one(order: Sequence[str], requests: dict[str, Request], nodes: Sequence[Node]) -> dict[str, str]:
    fleet = Fleet(nodes, Counter(requests.values()).items())
    hopeless: set[Request] = set()  # room only shrinks: what was refused once is refused again
    found = {}
    for request, group in groupby(order, key=requests.__getitem__):
        names = list(group)
        if request in hopeless:
            continue
        for name, node in zip(names, fleet.place_many(request, names), strict=True):
            if node is not None:
                found[name] = node
            elif not request.affinities:
                hopeless.add(request)
    return found


def _verified(
    explained: Sequence[tuple[One, Refused]],
    requests: dict[str, Request],
    found: dict[str, str],
    nodes: Sequence[Node],
    at_once: bool,
) -> Iterator[tuple[One, Refused]]:
    """With fixes that hold when everything is placed again; replicas of one service share the answer."""
    answers: dict[str, Refused] = {}
    for one, answer in explained:
        if one.service not in answers:
            again = partial(_in_order, nodes=nodes, at_once=at_once)
            answers[one.service] = verified(answer, one.name, requests, found, again)
        yield one, answers[one.service]


def _explained(fleet: Fleet, refused: Sequence[One]) -> Iterator[tuple[One, Refused]]:
    """Why, in the end: with everything else in its place. Replicas of one service share the answer."""
    answers: dict[str, Refused] = {}
    for one in refused:
        if one.service not in answers:
            answers[one.service] = refuse(fleet, one.request, one.name)
        yield one, answers[one.service]
