"""The nodes this agent looks after: its machine, or several virtual nodes on it; what was asked of each, and where
volumes lie. All of it outlives the agent.

A virtual node is a name and a capacity: its containers run on this very machine, placed and moved as if they did not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.agent import node_words
from orchestrator.agent.containers import Record
from orchestrator.agent.store import Store
from orchestrator.agent.wishes import Wishes
from orchestrator.errors import Conflict, Missing
from orchestrator.scheduler.node import Node

_FLAGS = {"cordon": (True, False), "drain": (True, True), "uncordon": (False, False)}


class Nodes:
    """`machine`: this host. `moves`: replicas that somebody asked to move, and where to."""

    def __init__(self, store: Store, machine: Node) -> None:
        self._store = store
        self.machine = machine
        self.moves: dict[str, str] = {}
        self.homes: dict[str, str] = {}
        rows = store.rows("SELECT name, spec, cordoned, drained FROM nodes ORDER BY place")
        self._nodes: dict[str, Node] = {}
        self._specs: dict[str, Mapping[str, Any]] = {}
        for name, spec, cordoned, drained in rows:
            self._know(name, spec, bool(cordoned), bool(drained))
        self.volumes: dict[str, str] = dict(store.rows("SELECT volume, node FROM volume_nodes"))

    @property
    def all(self) -> tuple[Node, ...]:
        virtual = tuple(node for node in self._nodes.values() if node.name != self.machine.name)
        return virtual or (self._nodes.get(self.machine.name, self.machine),)

    def define(self, words: Sequence[str]) -> None:
        """The virtual nodes from now on, each `NAME:cpus=1,memory=4G,…`; what was asked of them before still holds.

        ["none"]: the machine is one node again. Raises Mistake.
        """
        specs = node_words.parse(words, self.machine)
        flags = {node.name: (node.cordoned, node.drained) for node in self._nodes.values()}
        self._nodes, self._specs = {}, {}
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
        self._know(name, spec, cordoned, drained)

    def _know(self, name: str, spec: str, cordoned: bool, drained: bool) -> None:
        self._specs[name] = json.loads(spec)
        self._nodes[name] = node_words.node(name, self._specs[name], self.machine, cordoned=cordoned, drained=drained)

    @property
    def note(self) -> str:
        """What should be known of the nodes before their figures are believed; "" where nothing."""
        return node_words.together(self.all, self.machine) if len(self.all) > 1 else ""

    def devices(self, name: str) -> Mapping[str, Sequence[str]]:
        """Kind → the device files that a node hands in; what is only counted is not among them."""
        offered = self._specs.get(name, {}).get("devices", {})
        return {kind: paths for kind, paths in offered.items() if not isinstance(paths, int)}

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


def movable(nodes: Nodes, name: str, target: str) -> None:
    """Ask for a move. Raises Conflict where the target does not take anything."""
    node = next((one for one in nodes.all if one.name == target), None)
    if node is None or not node.takes:
        raise Conflict(f"cannot move {name} to {target}: it takes nothing new")
    nodes.moves[name] = target
