"""The agent's knowledge of each container: one record, one bundle directory.

`container.json` holds what it was made from and is written once, whole: a bundle explains itself, whatever becomes of
the database; `history.json` holds what it went through (exits,
verdict) and is replaced by rename. Together with the launcher's `state.json` and `exit.json` they let a new agent go
on exactly where the former one died.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.agent import clock
from orchestrator.errors import Conflict
from orchestrator.health.check import Result, Status, Verdict
from orchestrator.health.probe import Role
from orchestrator.policy.restart import Exit
from orchestrator.reconcile.replica import Replica
from orchestrator.reconcile.world import Container, Phase
from orchestrator.root import Root
from orchestrator.stack.model import Service
from orchestrator.stack.store import fields_of, service_from

EXITS_KEPT = 32
IDENTITY = (
    *("id", "name", "stack", "service", "slot", "digest", "revision", "image", "command", "stop_signal"),
    *("created_wall", "node", "addresses", "network_keys", "contents", "placement", "devices"),
)
BY_HAND = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
Ending = Literal["asked", "unhealthy", "moved"]


@dataclass(slots=True)
class Record:
    """One container. Times are CLOCK_MONOTONIC seconds, `*_wall` seconds since the epoch.

    `ending`: why we are taking it down just now, None while nobody does. `addresses` and `network_keys` (the key in
    the stack file): by host-side network name, in the order of its interfaces. `placement`: how its node was chosen,
    see `placements`. `devices`: kind → the device files of its node that it has for itself, see `lending`.
    """

    id: str
    name: str
    stack: str
    service: str
    slot: int
    digest: str
    meaning: Mapping[str, str]
    definition: Service
    revision: int
    image: str
    command: str
    stop_signal: str
    created_wall: float
    node: str
    addresses: dict[str, str] = field(default_factory=dict)
    network_keys: dict[str, str] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)
    devices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    phase: Phase = "created"
    pid: int | None = None
    started: float | None = None
    verdict: Verdict | None = None  # of all probes together
    verdicts: Mapping[Role, Verdict] = field(default_factory=dict)  # of each
    exits: tuple[Exit, ...] = ()
    ending: Ending | None = None
    draining: bool = False  # it is on its way out: no name and no port leads to it any more
    runs: int = 0
    paused: bool = False
    bounds_off: str | None = None  # its limits changed, see `bounds`
    drifted: Mapping[str, str] = field(default_factory=dict)  # kind of drift → what somebody else has done
    signalled: bool = False  # its user had a signal sent to it
    reloaded: float | None = None
    contents: Mapping[str, str] = field(default_factory=dict)  # what its configs and secrets say, as digests
    _view: Container | None = None

    def change(self, **fields: Any) -> None:
        """Set fields; the frozen view is made anew when next asked for."""
        for name, value in fields.items():
            setattr(self, name, value)
        self._view = None

    def ended(self, exit: Exit) -> None:
        """It ran and is over."""
        self.change(phase="exited", pid=None, verdict=None, verdicts={}, ending=None, draining=False, paused=False)
        self.change(drifted={}, signalled=False)
        self.change(exits=(*self.exits, exit)[-EXITS_KEPT:])

    def drift(self, kind: str, why: str | None) -> bool:
        """Note what somebody else has done to it (None: it is as it should be); whether that is news."""
        if self.drifted.get(kind) == why:
            return False
        others = {key: value for key, value in self.drifted.items() if key != kind}
        self.change(drifted={**others, kind: why} if why else others)
        return True

    def view(self) -> Container:
        """This container as the decider sees it."""
        if self._view is None:
            self._view = Container(
                id=self.id,
                name=self.name,
                stack=self.stack,
                service=self.service,
                slot=self.slot,
                digest=self.digest,
                node=self.node,
                phase=self.phase,
                meaning=self.meaning,
                started=self.started,
                verdict=self.verdict,
                exits=self.exits,
                bounds_off=self.bounds_off,
                drifted=self.drifted,
                reloaded=self.reloaded,
                contents=self.contents,
                stop_signal=self.stop_signal,
                stop_grace_period=self.definition.stop_grace_period,
                service_definition=self.definition,
            )
        return self._view

    @property
    def last_exit(self) -> Exit | None:
        return self.exits[-1] if self.exits else None

    @property
    def helper(self) -> bool:
        """It runs a `pre_start` hook, and is no replica of its service."""
        return self.slot == 0

    @property
    def one_off(self) -> bool:
        """It was made by `run`, beside the replicas of its service: see one_off.py."""
        return self.slot < 0

    @property
    def answers(self) -> bool:
        """It runs and, where it has a check, the check says healthy: names and ports lead to it."""
        well = self.verdict is None or self.verdict.status == "healthy"
        return self.phase == "running" and not self.draining and well


class Containers:
    """All records of this agent, by name. The only writer of their files."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._by_name: dict[str, Record] = {}
        self._by_id: dict[str, Record] = {}
        self.trouble: str | None = None  # why the latest history could not be written
        os.makedirs(root.bundles, mode=0o700, exist_ok=True)
        os.makedirs(root.containers, mode=0o700, exist_ok=True)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def named(self, name: str) -> Record | None:
        return self._by_name.get(name)

    def get(self, id: str) -> Record | None:
        return self._by_id.get(id)

    def of(self, stack: str) -> list[Record]:
        return [record for record in self if record.stack == stack]

    def add(self, replica: Replica, revision: int, image: str, command: str, stop_signal: str, node: str) -> Record:
        """A record for a new container, with a fresh id. Nothing is written yet.

        Raises Conflict where another stack, or another service, has a container of this name (`container_name`).
        """
        other = self._by_name.get(replica.name)
        if other is not None:
            whose = f"service '{other.service}' of stack '{other.stack}'"
            raise Conflict(f"cannot name a container {replica.name!r}: {whose} has one of this name")
        record = Record(
            id=secrets.token_hex(6),
            name=replica.name,
            stack=replica.stack,
            service=replica.service,
            slot=replica.slot,
            digest=replica.digest,
            meaning=replica.meaning,
            definition=replica.definition,
            revision=revision,
            image=image,
            command=command,
            stop_signal=stop_signal,
            created_wall=clock.wall_ns() / 1e9,
            node=node,
        )
        self._insert(record)
        return record

    def _insert(self, record: Record) -> None:
        self._by_name[record.name] = record
        self._by_id[record.id] = record

    def forget(self, record: Record) -> list[str]:
        """Take the record off the books; returns the directories that now belong to nobody (see `scrap`)."""
        if self._by_name.get(record.name) is record:
            del self._by_name[record.name]
        self._by_id.pop(record.id, None)
        return [self.root.bundle(record.id), self.root.container(record.id)]

    def write_identity(self, record: Record) -> None:
        """container.json: what this bundle is, before anything of it is made."""
        identity = {key: getattr(record, key) for key in IDENTITY}
        identity |= {"meaning": dict(record.meaning), "definition": record.definition}
        _write(os.path.join(self.root.bundle(record.id), "container.json"), identity)

    def write_history(self, record: Record) -> None:
        """history.json: exits and health, so that neither back-off nor verdict starts anew with the agent."""
        history = {
            "runs": record.runs,
            "reloaded": record.reloaded,
            "ending": record.ending,
            "exits": [[e.started, e.at, e.code, e.signal, e.cause] for e in record.exits],
            "verdicts": {role: _packed(verdict) for role, verdict in record.verdicts.items()},
        }
        try:
            _write(os.path.join(self.root.bundle(record.id), "history.json"), history)
        except OSError as error:  # no reason to stop looking after it: the next change writes all of it
            self.trouble = f"cannot write the history of {record.name}: {error.strerror}"
        else:
            self.trouble = None

    def load(self) -> list[str]:
        """Every bundle on disk as a record; returns the ids of those that were never finished, or whose restart was
        not: what the launcher has of these must go. Directories that belong to no record are for `scrap`."""
        half_made: list[str] = []
        for id in sorted(os.listdir(self.root.bundles)):
            bundle = self.root.bundle(id)
            identity, state = read(bundle, "container.json"), read(bundle, "state.json")
            ended, history = read(bundle, "exit.json"), read(bundle, "history.json") or {}
            started = ended is not None or (state is not None and state["status"] == "running")
            helper = identity is not None and identity["slot"] == 0  # its agent is gone, and it begins anew
            if not started or helper:
                half_made.append(id)
            if identity is not None and not helper and (started or history.get("exits")):
                record = Record(**identity | {"definition": service_from(identity["definition"])})
                _recall(record, history, state if started else None, ended)
                self._insert(record)
        return half_made

    def unclaimed(self) -> list[str]:
        """Directories of containers that are on no record."""
        ids = {*os.listdir(self.root.bundles), *os.listdir(self.root.containers)} - set(self._by_id)
        return [path(id) for id in sorted(ids) for path in (self.root.bundle, self.root.container)]


def _recall(
    record: Record, history: dict[str, Any], state: dict[str, Any] | None, ended: dict[str, Any] | None
) -> None:
    record.runs, record.reloaded = history.get("runs", 1), history.get("reloaded")
    record.exits = tuple(Exit(*row) for row in history.get("exits", ()))
    record.ending = history.get("ending")
    if ended is not None:
        if not record.exits or record.exits[-1].at != ended["at"]:
            record.ended(exit_of(ended, record.ending, record.signalled))
        record.phase = "exited"
    elif state is not None:
        record.phase, record.pid, record.started = "running", state["pid"], state["started"]
        record.verdicts = {role: _unpacked(*packed) for role, packed in history.get("verdicts", {}).items()}
    else:
        record.phase = "exited"


def _packed(verdict: Verdict) -> list[Any]:
    last = verdict.last
    told = None if last is None else [last.at, last.code, last.output]
    return [verdict.status, verdict.since, verdict.failing, verdict.probes, told]


def _unpacked(status: Status, since: float, failing: int, probes: int, last: list[Any] | None) -> Verdict:
    return Verdict(status, since, failing, probes, None if last is None else Result(*last))


def exit_of(ended: Mapping[str, Any], ending: Ending | None, signalled: bool) -> Exit:
    """The launcher's report of an end, with the cause that only the agent knows. `signalled`: a signal was sent for its
    user; else one that only others send (a first process cannot do it to itself) was somebody else's."""
    foreign = ended.get("signal") in BY_HAND and not signalled
    by_itself: Literal["oom", "stopped", "exited"] = "oom" if ended.get("oom") else "stopped" if foreign else "exited"
    cause = ending or by_itself
    return Exit(ended["started"] or ended["at"], ended["at"], ended["code"], ended.get("signal"), cause)


def read(bundle: str, name: str) -> dict[str, Any] | None:
    """A JSON file of a bundle; None where it is not there, or is no JSON (its writer died before the rename)."""
    try:
        with open(os.path.join(bundle, name), encoding="utf-8") as file:
            value = json.load(file)
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return value if isinstance(value, dict) else None


def _write(path: str, value: Mapping[str, Any]) -> None:
    """By rename: a reader sees the whole of it or none."""
    write_text(f"{path}.new", json.dumps(value, default=fields_of), 0o600)
    os.replace(f"{path}.new", path)


def write_text(path: str, text: str, mode: int) -> None:
    """A file in one system call a step: a hundred containers write six each while a user waits."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        rest = memoryview(text.encode())
        while rest:
            rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)


def scrap(directories: list[str]) -> None:
    """Remove directories that belong to nobody any more. Overlay leaves work/work without permissions; root may."""
    for directory in directories:
        if os.path.lexists(directory):
            shutil.rmtree(directory)
