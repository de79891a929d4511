"""pyorch simulate: what would happen on these nodes. In this process: neither agent nor root rights are needed."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from orchestrator.reconcile.simulate import Event, Line, Simulation

HELP = """Run the real decider on nodes that are only on paper, in virtual time; print what happens, and where all lies.

NODE@TIME says what befalls a node and when (n2@5s, n2@1m). Exit code: 0 all is as wanted in the end, 1 it is not.
"""
EXAMPLES = """
  pyorch simulate stack.yaml --nodes nodes.yaml
  pyorch simulate stack.yaml --nodes nodes.yaml --kill n2@5s --revive n2@1m
  pyorch simulate stack.yaml --nodes nodes.yaml --drain n1@10s --format json
"""
DEEDS = {
    "kill": "The node dies, and its containers with it.",
    "revive": "The node is back, empty.",
    "drain": "The node is to be emptied.",
    "cordon": "The node takes nothing new.",
    "uncordon": "The node takes new replicas again.",
}
OPTIONS = (
    Option("--nodes", kind="text", metavar="FILE", help="The nodes: a list, or a shape and a count."),
    *(Option(f"--{deed}", kind="many", metavar="NODE@TIME", help=said) for deed, said in DEEDS.items()),
    Option("--format", kind="text", choices=("text", "json"), default="text", help="How it is printed."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="[FILE] SERVICE"),)
SHOWN = 8  # lines of one kind at one time; the rest is counted


def run(given: Given) -> int:
    import os

    from orchestrator.cli.where import only, read_stack
    from orchestrator.errors import Mistake
    from orchestrator.reconcile.simulate import simulate
    from orchestrator.stack import nodes

    if not given.nodes:
        raise Mistake("cannot simulate anything without nodes: name their file by --nodes FILE")
    stack = only(read_stack(given, given.services), given.services)
    file = nodes.read(given.nodes, os.getcwd(), os.environ)
    what = simulate(stack, file.nodes, events(given, {node.name for node in file.nodes}))
    if given.format == "json":
        import json

        print(json.dumps(as_json(what)))
    else:
        print(text(what), end="")
    return 1 if what.plan.holds or what.plan.actions else 0


def events(given: Given, known: set[str]) -> list[Event]:
    """What the options say. Mistake for a node that is not in the file, or a time that is none."""
    from orchestrator import units
    from orchestrator.errors import Mistake
    from orchestrator.reconcile.simulate import Event
    from orchestrator.stack.places import did_you_mean

    found, complaints = [], []
    for deed in DEEDS:
        for word in getattr(given, deed):
            node, at, time = word.partition("@")
            try:
                moment = units.duration(time) if at else None
            except ValueError as error:
                complaints.append(f"--{deed} {word}: {error}")
                continue
            if moment is None:
                complaints.append(f"--{deed} {word}: expected NODE@TIME, such as n2@5s")
            elif node not in known:
                complaints.append(f"--{deed} {word}: there is no node '{node}'{did_you_mean(node, sorted(known))}")
            else:
                found.append(Event(moment, deed, node))  # type: ignore[arg-type]
    if complaints:
        raise Mistake(*complaints)
    return found


def as_json(what: Simulation) -> dict[str, Any]:
    return {
        "timeline": [{"time": round(line.at, 6), "text": line.text} for line in what.timeline],
        "placed": [{"service": c.service, "slot": c.slot, "node": c.node, "phase": c.phase} for c in what.containers],
        "holds": [{"subject": hold.subject, "why": hold.why} for hold in what.plan.holds],
        "nodes_used": len({c.node for c in what.containers if c.phase == "running"}),
        "ended": round(what.ended, 6),
    }


def text(what: Simulation) -> str:
    """The timeline, what lies where in the end, and what is held."""
    from orchestrator.cli.fit import _slots
    from orchestrator.cli.printing import table

    said = "".join(f"{at:9.2f}s  {line}\n" for at, line in shortened(what.timeline))
    there: dict[str, dict[str, list[int]]] = {}
    for container in sorted(what.containers, key=lambda c: (c.service, c.slot)):
        if container.phase == "running":
            there.setdefault(container.node, {}).setdefault(container.service, []).append(container.slot)
    rows = [
        (node, ", ".join(f"{service} {_slots(slots)}" for service, slots in services.items()))
        for node, services in sorted(there.items())
    ]
    said += "\n" + table(("NODE", "REPLICAS"), rows)
    running = sum(container.phase == "running" for container in what.containers)
    return said + f"{running} replicas run on {len(rows)} nodes after {what.ended:.2f}s, {len(what.plan.holds)} held\n"


def shortened(timeline: tuple[Line, ...]) -> Iterator[tuple[float, str]]:
    """(time, line): of many like ones at one time (the same deed and reason) the first, and how many more."""
    groups: dict[tuple[float, str, str], list[str]] = {}
    for line in timeline:
        deed, _, why = line.text.partition(": ")
        alike = (deed.split()[0], why) if line.action is not None else (line.text, "")
        groups.setdefault((line.at, *alike), []).append(line.text)
    for (at, _, _), lines in groups.items():
        yield from ((at, line) for line in lines[: SHOWN if len(lines) > SHOWN + 1 else None])
        if len(lines) > SHOWN + 1:
            yield at, f"… and {len(lines) - SHOWN} more like it"
