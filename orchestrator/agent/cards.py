"""What is known of a failure, on one card: who, what it waited for, how it ended, its probe's and its log's last words,
what had changed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from orchestrator.agent.containers import Record
from orchestrator.agent.state import service_of
from orchestrator.policy.restart import describe
from orchestrator.reconcile.difference import difference
from orchestrator.reconcile.why import explain
from orchestrator.reconcile.world import Wanted
from orchestrator.runtime import logreader
from orchestrator.units import human_bytes

if TYPE_CHECKING:
    from orchestrator.agent.circle import Circle

LINES = 10  # of the log


def cards(circle: Circle, wish: Wanted, subjects: Iterable[str], now: float) -> list[dict[str, Any]]:
    """One for each service that is the root of a failure; those that only wait for it are named on it."""
    found: dict[str, dict[str, Any]] = {}
    for subject in subjects:
        service = service_of(subject, wish)
        if service is None or service not in {**wish.orphans, **wish.stack.services}:
            continue
        chain = explain(wish, circle.world, circle.plan, service, now)
        root = chain.root
        card = found.get(root.service)
        if card is None:
            record = circle.containers.named(root.subject)
            card = found[root.service] = {
                "service": root.service,
                "subject": root.subject,
                "state": root.state,
                "why": root.cause,
                "waiting": [],
                "exit": _exit(record, wish, root.service),
                "probe": _probe(record),
                "log": last_words(circle, record),
                "changed": changed(circle, wish, root.service),
                "next": chain.next,
                "look": f"pyorch -p {wish.stack.name} why {root.service}",
            }
        for waiting in _edges(wish, [link.service for link in chain.links]):
            if waiting not in card["waiting"]:
                card["waiting"].append(waiting)
    return list(found.values())


def _edges(wish: Wanted, chain: list[str]) -> list[str]:
    """ "web (needs db healthy)": who waits for whom along the chain, nearest to the root first."""
    told = []
    for waiting, needed in reversed(list(pairwise(chain))):
        definition = wish.stack.services.get(waiting)
        edge = definition.depends_on.get(needed) if definition is not None else None
        told.append(f"{waiting} (needs {needed} {edge.condition})" if edge else f"{waiting} (needs {needed})")
    return told


def _exit(record: Record | None, wish: Wanted, service: str) -> str:
    """ "exited 1", "killed by SIGSEGV", "out of memory …, limit 20 MiB"."""
    if record is None or record.last_exit is None:
        return ""
    told = describe(record.last_exit)
    definition = wish.stack.services.get(service)
    limit = definition.limits.memory if definition is not None else None
    return f"{told}: the limit is {human_bytes(limit)}" if record.last_exit.cause == "oom" and limit else told


def _probe(record: Record | None) -> str:
    verdict = record.verdict if record is not None else None
    if verdict is None or verdict.last is None or verdict.last.code == 0:
        return ""
    return verdict.last.output.strip()


def last_words(circle: Circle, record: Record | None, count: int = LINES) -> list[str]:
    """The last lines of its output."""
    if record is None:
        return []
    try:
        chunks = logreader.read(f"{circle.root.container(record.id)}/log", tail=count)
        return [line.decode(errors="replace").rstrip("\n") for _, _, line in logreader.lines(chunks)]
    except OSError:
        return []


def changed(circle: Circle, wish: Wanted, service: str) -> list[str]:
    """Its fields that are otherwise than in the last revision that was ready as a whole, or in the one before this."""
    name, wishes = wish.stack.name, circle.wishes
    good = wishes.history.last_good(name, wish.revision) or wish.revision - 1
    before = wishes.revision(name, good) if not wish.proven else None
    if before is None:
        return []
    found = difference(before, wish.stack)
    if service in found.added:
        return [f"it is new in revision {wish.revision}"]
    return [f"{change} (since revision {good})" for change in found.changed.get(service, ())]
