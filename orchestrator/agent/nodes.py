"""The nodes this agent looks after: its machine, or several virtual nodes on it; what was asked of each, and where
volumes lie. All of it outlives the agent.

A virtual node is a name and a capacity: its containers run on this very machine, placed and moved as if they did not.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator import units
from orchestrator.agent.containers import Record
from orchestrator.agent.store import Store
from orchestrator.agent.wishes import Wishes
from orchestrator.errors import Conflict, Missing, Mistake
from orchestrator.kernel import cgroups
from orchestrator.scheduler.filters import here
from orchestrator.scheduler.node import Node

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_FLAGS = {"cordon": (True, False), "drain": (True, True), "uncordon": (False, False)}


class Nodes:
    """`machine`: this host. `moves`: replicas that somebody asked to move, and where to."""

    def __init__(self, store: Store, machine: Node) -> None:
        self._store = store
        self.machine = machine
        self.moves: dict[str, str] = {}
        self.homes: dict[str, str] = {}
        rows = store.rows("SELECT name, spec, cordoned, drained FROM nodes ORDER BY place")
        self._nodes = {name: _node(name, spec, machine, cordoned, drained) for name, spec, cordoned, drained in rows}
        self.volumes: dict[str, str] = dict(store.rows("SELECT volume, node FROM volume_nodes"))

    @property
    def all(self) -> tuple[Node, ...]:
        virtual = tuple(node for node in self._nodes.values() if node.name != self.machine.name)
        return virtual or (self._nodes.get(self.machine.name, self.machine),)

    def define(self, words: Sequence[str]) -> None:
        """The virtual nodes from now on, each `NAME:cpus=1,memory=4G,…`; what was asked of them before still holds.

        ["none"]: the machine is one node again. Raises Mistake.
        """
        specs = {} if list(words) == ["none"] else parse(words, self.machine)
        flags = {node.name: (node.cordoned, node.drained) for node in self._nodes.values()}
        self._nodes = {}
        self._store.write("DELETE FROM nodes")
        for place, (name, spec) in enumerate(specs.items()):
            cordoned, drained = flags.get(name, (False, False))
            self._put(place, name, json.dumps(spec), cordoned, drained)
        self._store.commit()

    def ask(self, name: str, deed: str) -> Node:
        """cordon, drain or uncordon one. Raises Missing."""
        nodes = {node.name: place for place, node in enumerate(self.all)}
        if name not in nodes:
            raise Missing(f"cannot {deed} node {name!r}: there is none of this name; there are {', '.join(nodes)}")
        rows = self._store.rows("SELECT spec FROM nodes WHERE name = ?", name)
        self._put(nodes[name], name, rows[0][0] if rows else "{}", *_FLAGS[deed])
        self._store.commit()
        return self._nodes[name]

    def _put(self, place: int, name: str, spec: str, cordoned: bool, drained: bool) -> None:
        row = (name, place, spec, int(cordoned), int(drained))
        self._store.write("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?, ?)", *row)
        self._nodes[name] = _node(name, spec, self.machine, cordoned, drained)

    def observe(self, records: Iterable[Record], wishes: Wishes, existing: frozenset[str]) -> None:
        """Where replicas lie, and their volumes: a volume lies where it was first used, until it is removed."""
        there = {record.name: record.node for record in records if record.slot > 0}
        self.homes |= there
        self.moves = {name: node for name, node in self.moves.items() if there.get(name, "") != node}
        if len(self.all) == 1 and not self.volumes:
            return
        used = dict(self._used(records, wishes))
        found = {volume: node for volume, node in {**used, **self.volumes}.items() if volume in existing}
        if found != self.volumes:
            self._store.write("DELETE FROM volume_nodes")
            for volume, node in found.items():
                self._store.write("INSERT INTO volume_nodes VALUES (?, ?)", volume, node)
            self._store.commit()
            self.volumes = found

    def _used(self, records: Iterable[Record], wishes: Wishes) -> Iterable[tuple[str, str]]:
        for record in records:
            wish = wishes.get(record.stack)
            for mount in record.definition.mounts if wish else ():
                volume = wish.stack.volumes.get(mount.source or "") if wish and mount.kind == "volume" else None
                if volume is not None and not volume.external:
                    yield volume.name, record.node

    def forget_home(self, name: str) -> None:
        """It had to leave: it goes wherever there is the best place."""
        self.homes.pop(name, None)


def this_machine(reserve: Mapping[str, float]) -> Node:
    """This host as one node: what the agent's own control groups and processor mask leave of it, less `reserve`
    ({"cpus": cores, "memory": bytes}). Raises Mistake where nothing is left."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory = min(pages, cgroups.own_memory_limit() or pages)
    cores = float(len(os.sched_getaffinity(0)))
    cpus = min(cores, cgroups.own_cpu_limit() or cores)
    cpus, memory = round(cpus - reserve.get("cpus", 0.0), 6), memory - int(reserve.get("memory", 0))
    if cpus <= 0 or memory <= 0:
        raise Mistake("cannot keep so much free: --reserve leaves nothing of this machine")
    return Node(
        os.uname().nodename,
        cpus,
        memory,
        pids=cgroups.own_pids_limit() or 0,
        architecture=here(),
        role="manager",
        cordoned=False,
    )


def reserve(word: str) -> dict[str, float]:
    """`cpus=0.5,memory=512M`. Raises Mistake."""
    found: dict[str, float] = {}
    try:
        for part in filter(None, word.split(",")):
            key, _, value = part.partition("=")
            found[key] = {"cpus": units.cpus, "memory": units.size}[key](value)
    except KeyError:
        raise Mistake(f"--reserve {word}: expected cpus=CORES,memory=SIZE, but found {part!r}") from None
    except ValueError as error:
        raise Mistake(f"--reserve {word}: {error}") from None
    return found


def parse(words: Sequence[str], machine: Node) -> dict[str, dict[str, Any]]:
    """NAME → {cpus, memory, labels …} of `NAME:cpus=1,memory=4G,label.disk=ssd`. Raises Mistake with all complaints."""
    found: dict[str, dict[str, Any]] = {}
    complaints = []
    for word in words:
        name, _, rest = word.partition(":")
        try:
            if not _NAME.fullmatch(name):
                raise ValueError(f"expected NAME:cpus=CORES,memory=SIZE, but found {word!r}")
            if name in found:
                raise ValueError(f"a node called {name!r} is there already")
            found[name] = _spec(rest, machine)
        except ValueError as error:
            complaints.append(f"--node {word}: {error}")
    if complaints:
        raise Mistake(*complaints)
    return found


def _spec(text: str, machine: Node) -> dict[str, Any]:
    spec: dict[str, Any] = {"cpus": machine.cpus, "memory": machine.memory, "labels": {}}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        match key:
            case "cpus":
                spec["cpus"] = units.cpus(value)
            case "memory":
                spec["memory"] = units.size(value)
            case "pids":
                spec["pids"] = int(value)
            case "role":
                spec["role"] = value
            case _ if key.startswith("label.") and equals:
                spec["labels"][key.removeprefix("label.")] = value
            case _:
                raise ValueError(f"expected cpus, memory, pids, role or label.NAME, but found {part!r}")
    if spec["cpus"] <= 0 or spec["memory"] <= 0:
        raise ValueError("a node without cpus or memory can take nothing")
    for key, amount, whole in (("cpus", spec["cpus"], machine.cpus), ("memory", spec["memory"], machine.memory)):
        if amount > whole:
            word = units.human_cpus(whole) if key == "cpus" else units.human_bytes(int(whole))
            raise ValueError(f"it claims more {key} than this machine has ({word})")
    return spec


def _node(name: str, spec: str, machine: Node, cordoned: int | bool, drained: int | bool) -> Node:
    """The machine's facts, under the node's own name and with its own capacity."""
    return replace(machine, name=name, **json.loads(spec), cordoned=bool(cordoned), drained=bool(drained))


def movable(nodes: Nodes, name: str, target: str) -> None:
    """Ask for a move. Raises Conflict where the target does not take anything."""
    node = next((one for one in nodes.all if one.name == target), None)
    if node is None or not node.takes:
        raise Conflict(f"cannot move {name} to {target}: it takes nothing new")
    nodes.moves[name] = target
