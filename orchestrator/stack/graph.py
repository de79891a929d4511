"""Who waits for whom. graphlib on the way to every start; networkx (heavy) only inside what draws and explains."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import networkx

    from orchestrator.stack.model import Service


def edges(services: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    """Service → the services it waits for, those that exist."""
    return {name: tuple(key for key in service.depends_on if key in services) for name, service in services.items()}


def order(services: Mapping[str, Service]) -> list[tuple[str, ...]]:
    """Levels in starting order: a level waits for those before it and for nothing beside it. Stopping runs backwards.

    Raises graphlib.CycleError; a Stack that was loaded has no cycle.
    """
    sorter = graphlib.TopologicalSorter(edges(services))
    sorter.prepare()
    levels: list[tuple[str, ...]] = []
    while sorter.is_active():
        levels.append(tuple(sorted(sorter.get_ready())))
        sorter.done(*levels[-1])
    return levels


def cycle(waiting: Mapping[str, Iterable[str]]) -> tuple[str, ...] | None:
    """A circle of waiting, each before the one it waits for and the first again at the end; None: there is none."""
    try:
        graphlib.TopologicalSorter(waiting).prepare()
    except graphlib.CycleError as error:
        return tuple(reversed(error.args[1]))  # graphlib names predecessors first
    return None


def dependents(services: Mapping[str, Service], name: str) -> tuple[str, ...]:
    """Every service that waits for `name`, directly or through others, sorted."""
    waiting: dict[str, list[str]] = {}
    for service, needs in edges(services).items():
        for need in needs:
            waiting.setdefault(need, []).append(service)
    return _reach(waiting, name)


def needs(services: Mapping[str, Service], name: str) -> tuple[str, ...]:
    """Every service that `name` waits for, directly or through others, sorted."""
    return _reach(edges(services), name)


def _reach(below: Mapping[str, list[str]] | Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    found: set[str] = set()
    todo = list(below.get(name, ()))
    while todo:
        if (at := todo.pop()) not in found:
            found.add(at)
            todo += below.get(at, ())
    return tuple(sorted(found))


def digraph(services: Mapping[str, Service]) -> networkx.DiGraph:
    """The graph for everything that is asked rarely: an edge runs from what is started first to what waits for it."""
    import networkx

    graph = networkx.DiGraph()
    graph.add_nodes_from(services)
    for name, service in services.items():
        for key, dependency in service.depends_on.items():
            if key in services:
                graph.add_edge(key, name, condition=dependency.condition)
    return graph


def critical_path(services: Mapping[str, Service], seconds: Mapping[str, float] | None = None) -> tuple[str, ...]:
    """The chain that decides how long a start takes. `seconds`: what each service needs; 1 where unknown."""
    import networkx

    graph = digraph(services)
    for _, name, data in graph.edges(data=True):
        data["weight"] = (seconds or {}).get(name, 1.0)
    return tuple(networkx.dag_longest_path(graph))


def text(services: Mapping[str, Service], *, marked: frozenset[str] = frozenset()) -> str:
    """A tree for the terminal: what nobody waits for on top, below it what it waits for. `*` stands at the marked."""
    waits = edges(services)
    needed = {need for names in waits.values() for need in names}
    lines: list[str] = []
    seen: set[str] = set()

    def draw(name: str, lead: str, branch: str, condition: str) -> None:
        repeated = name in seen and waits[name]
        lines.append(f"{lead}{branch}{name}{'*' if name in marked else ''}{condition}{' …' if repeated else ''}")
        if repeated:
            return
        seen.add(name)
        below = lead + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        for index, need in enumerate(waits[name]):
            last = index == len(waits[name]) - 1
            draw(need, below, "└─ " if last else "├─ ", f" ({services[name].depends_on[need].condition})")

    for name in sorted(services):
        if name not in needed:
            draw(name, "", "", "")
    return "\n".join(lines) + "\n"


def drawing(
    services: Mapping[str, Service], format: Literal["dot", "mermaid"], marked: frozenset[str] = frozenset()
) -> str:
    """Graphviz or Mermaid text; arrows point at what is waited for, as in Compose's own drawings."""
    names = sorted(services)
    number = {name: f"s{index}" for index, name in enumerate(names)}
    arrows = [
        (number[name], number[need], services[name].depends_on[need].condition)
        for name, wanted in sorted(edges(services).items())
        for need in wanted
    ]
    if format == "mermaid":
        boxes = [f'  {number[name]}["{name}"]' + (":::critical" if name in marked else "") for name in names]
        style = ["  classDef critical stroke-width:3px"] if marked else []
        return "\n".join(["graph LR", *boxes, *(f"  {a} -->|{label}| {b}" for a, b, label in arrows), *style]) + "\n"
    boxes = [f'  {number[name]} [label="{name}"{" penwidth=3" if name in marked else ""}];' for name in names]
    lines = [f'  {a} -> {b} [label="{label}"];' for a, b, label in arrows]
    return "\n".join(["digraph stack {", "  rankdir=LR;", "  node [shape=box];", *boxes, *lines, "}"]) + "\n"
