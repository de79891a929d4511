"""pyorch fit: would the stack fit on these nodes? In this process: neither agent nor root rights are needed."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.reconcile.fit import Fitting

HELP = """Say where each replica of the stack would go on the given nodes, or why it would go nowhere.

Services are taken in the file's order, unless --batch. Exit code: 0 everything fits, 1 something does not.
"""
EXAMPLES = """
  pyorch fit stack.yaml --nodes nodes.yaml
  pyorch fit stack.yaml --nodes nodes.yaml --batch --fewest    on as few nodes of one shape as possible
  pyorch fit stack.yaml --nodes nodes.yaml --format json | jq .refused
"""
OPTIONS = (
    Option("--nodes", kind="text", metavar="FILE", help="The nodes: a list, or a shape and a count."),
    Option("--format", kind="text", choices=("text", "json"), default="text", help="How it is printed."),
    Option("--batch", help="All at once, in the order that packs best."),
    Option("--fewest", help="With --batch: on as few nodes of the given shape as can be found."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="[FILE] SERVICE"),)


def run(given: Given) -> int:
    import os
    from time import perf_counter

    from orchestrator.cli.where import only, read_stack
    from orchestrator.errors import Mistake
    from orchestrator.reconcile.fit import fit
    from orchestrator.stack import nodes

    if not given.nodes:
        raise Mistake("cannot fit anything without nodes: name their file by --nodes FILE")
    if given.fewest and not given.batch:
        raise Mistake("cannot pack on the fewest nodes one by one: write --batch --fewest")
    stack = only(read_stack(given, given.services), given.services)
    file = nodes.read(given.nodes, os.getcwd(), os.environ)
    if given.fewest and not file.alike and len({(n.cpus, n.memory) for n in file.nodes}) > 1:
        raise Mistake("cannot pack on the fewest nodes: they must have one shape (shape and count in the node file)")
    began = perf_counter()
    fitting = fit(stack, file.nodes, at_once=given.batch, fewest=given.fewest)
    seconds = perf_counter() - began
    if given.format == "json":
        import json

        print(json.dumps(as_json(fitting, seconds)))
    else:
        print(text(fitting, len(file.nodes)), end="")
    return 1 if fitting.refused else 0


def as_json(fitting: Fitting, seconds: float) -> dict[str, Any]:
    """{placed, refused, nodes_used, bound, seconds}."""
    from dataclasses import asdict

    return {
        "placed": [{"service": one.service, "slot": one.slot, "node": node} for one, node in fitting.placed],
        "refused": [
            {
                "service": one.service,
                "slot": one.slot,
                "why": answer.why,
                "reasons": [asdict(reason) for reason in answer.reasons],
                "nearest": asdict(answer.nearest) if answer.nearest else None,
                "fixes": [
                    {key: value for key, value in asdict(way).items() if value not in (None, "")}
                    for way in answer.fixes
                ],
            }
            for one, answer in fitting.refused
        ],
        "nodes_used": fitting.nodes_used,
        "bound": fitting.bound,
        "seconds": round(seconds, 6),
    }


def text(fitting: Fitting, nodes: int) -> str:
    """A line for each node with what lies there, then the refusals, then the sum."""
    from orchestrator.cli.printing import table

    there: dict[str, dict[str, list[int]]] = {}
    for one, node in fitting.placed:
        there.setdefault(node, {}).setdefault(one.service, []).append(one.slot)
    rows = [
        (node, ", ".join(f"{service} {_slots(slots)}" for service, slots in services.items()))
        for node, services in there.items()
    ]
    said = table(("NODE", "REPLICAS"), rows) if rows else ""
    answers: dict[str, tuple[str, list[int]]] = {}
    for one, answer in fitting.refused:
        answers.setdefault(one.service, (answer.why, []))[1].append(one.slot)
    for service, (why, slots) in answers.items():
        said += f"refused {service} {_slots(slots)}: {why}\n"
    placed, all_ = len(fitting.placed), len(fitting.placed) + len(fitting.refused)
    return said + (
        f"{placed} of {all_} replicas placed on {fitting.nodes_used} of {nodes} nodes"
        f" (all of them need at least {fitting.bound})\n"
    )


def _slots(slots: list[int]) -> str:
    """1, 2, 3, 7 → "1-3,7"."""
    parts: list[str] = []
    start = last = slots[0]
    for slot in [*slots[1:], -1]:
        if slot == last + 1:
            last = slot
            continue
        parts.append(str(start) if start == last else f"{start}-{last}")
        start = last = slot
    return ",".join(parts)
