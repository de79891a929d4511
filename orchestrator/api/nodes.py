"""Routes of nodes: what they have, what was asked of them, what could be moved, and what reservations should be."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from orchestrator.agent import capacity
from orchestrator.agent.circle import Circle
from orchestrator.api.http import Json, Reply, Request
from orchestrator.errors import Mistake


def routes(circle: Circle) -> dict[tuple[str, ...], Callable[[Request], Awaitable[Reply]]]:
    """Rows of the table of routes."""
    rows: dict[tuple[str, ...], Callable[[Circle, Request], Awaitable[Reply]]] = {
        ("GET", "nodes"): listing,
        ("POST", "nodes", "*", "cordon"): functools.partial(ask, "cordon"),
        ("POST", "nodes", "*", "drain"): functools.partial(ask, "drain"),
        ("POST", "nodes", "*", "uncordon"): functools.partial(ask, "uncordon"),
        ("POST", "rebalance"): rebalance,
        ("GET", "stacks", "*", "advise"): advise,
        ("GET", "stacks", "*", "scores"): scores,
    }
    return {row: functools.partial(route, circle) for row, route in rows.items()}


async def listing(circle: Circle, request: Request) -> Reply:
    return Json(await capacity.nodes(circle))


async def ask(deed: str, circle: Circle, request: Request) -> Reply:
    node = circle.nodes.ask(request.words[0], deed)
    said = {"cordon": "takes nothing new", "drain": "is to be emptied", "uncordon": "takes new replicas again"}
    circle.events.note(deed, node.name, said[deed], kind="node")
    circle.bell.ring()
    return Json({"node": node.name, "state": said[deed]})


async def rebalance(circle: Circle, request: Request) -> Reply:
    body = request.json()
    most = body.get("most", capacity.MOVES)
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise Mistake(f"cannot rebalance: expected a number of moves, 1 or more, but found {most!r}")
    return Json(capacity.rebalance(circle, most, now=bool(body.get("now"))))


async def advise(circle: Circle, request: Request) -> Reply:
    return Json(await capacity.advise(circle, request.words[0]))


async def scores(circle: Circle, request: Request) -> Reply:
    """`service`: how good each node is for one more replica of it, or why it is out."""
    return Json(capacity.score_table(circle, request.words[0], request.query.get("service", "")))
