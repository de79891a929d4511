"""What was applied when, and how it went: one numbered revision over all services of a stack.

Also what this machine has learnt by doing it: how long each service took from its start until it was ready, and which
jobs are done. All of it is bounded (`KEPT` rows a service, `store.REVISIONS_KEPT` revisions a stack), lives in the
agent's database, and goes with its stack; only the times stay, because the next `up` may ask for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from orchestrator.agent.store import Store

SCHEMA = """
CREATE TABLE IF NOT EXISTS applies (stack TEXT, revision INTEGER, wall_ns INTEGER NOT NULL, cause TEXT NOT NULL,
    summary TEXT NOT NULL, asked TEXT NOT NULL, outcome TEXT NOT NULL, why TEXT NOT NULL,
    PRIMARY KEY (stack, revision));
CREATE TABLE IF NOT EXISTS spans (id INTEGER PRIMARY KEY, stack TEXT NOT NULL, service TEXT NOT NULL,
    kind TEXT NOT NULL, seconds REAL NOT NULL);
CREATE INDEX IF NOT EXISTS spans_by_service ON spans (stack, service, kind, id);
CREATE TABLE IF NOT EXISTS jobs (stack TEXT, service TEXT, slot INTEGER, digest TEXT NOT NULL,
    PRIMARY KEY (stack, service, slot));
"""
KEPT = 50  # spans of each kind a service

Outcome = Literal["under way", "good", "failed", "taken back", "overtaken"]


@dataclass(frozen=True, slots=True)
class Apply:
    """One revision as the history tells it. `cause`: what the user, or which law, asked for it. `summary`: what is
    different from the one before. `asked`: the services and scales that were wanted with it."""

    revision: int
    wall_ns: int
    cause: str
    summary: str
    outcome: Outcome = "under way"
    why: str = ""
    active: tuple[str, ...] = ()
    scale: Mapping[str, int] = field(default_factory=dict)


class History:
    """The tables above, through the one writer of the database; committed with what the caller writes beside it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, stack: str, apply: Apply) -> None:
        asked = json.dumps({"active": sorted(apply.active), "scale": dict(apply.scale)})
        values = (stack, apply.revision, apply.wall_ns, apply.cause, apply.summary, asked, apply.outcome, apply.why)
        self._store.write("INSERT OR REPLACE INTO applies VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values)

    def end(self, stack: str, revision: int, outcome: Outcome, why: str = "") -> None:
        """How a revision went. What was good once stays good, whatever happens to it later."""
        self._store.write(
            "UPDATE applies SET outcome = ?, why = ? WHERE stack = ? AND revision = ? AND outcome != 'good'",
            *(outcome, why, stack, revision),
        )

    def of(self, stack: str) -> list[Apply]:
        """The newest first; only those whose document is still kept."""
        rows = self._store.rows(
            "SELECT a.revision, a.wall_ns, a.cause, a.summary, a.outcome, a.why, a.asked FROM applies a "
            "JOIN revisions r ON r.stack = a.stack AND r.revision = a.revision WHERE a.stack = ? "
            "ORDER BY a.revision DESC",
            stack,
        )
        found = []
        for revision, wall_ns, cause, summary, outcome, why, asked in rows:
            more = json.loads(asked)
            active, scale = tuple(more["active"]), more["scale"]
            found.append(Apply(revision, wall_ns, cause, summary, outcome, why, active, scale))
        return found

    def last_good(self, stack: str, before: int) -> int | None:
        """The newest revision older than `before` that had become ready as a whole."""
        return next((a.revision for a in self.of(stack) if a.revision < before and a.outcome == "good"), None)

    def forget(self, stack: str) -> None:
        for table in ("applies", "jobs"):
            self._store.write(f"DELETE FROM {table} WHERE stack = ?", stack)

    def trim(self, stack: str) -> None:
        """Rows whose document was dropped."""
        self._store.write(
            "DELETE FROM applies WHERE stack = ? AND revision NOT IN (SELECT revision FROM revisions WHERE stack = ?)",
            *(stack, stack),
        )

    # how long things take here

    def put_span(self, stack: str, service: str, kind: Literal["start", "stop"], seconds: float) -> None:
        """`kind`: "start" is from the start to ready, "stop" from the stop signal to the end."""
        self._store.write(
            "INSERT INTO spans (stack, service, kind, seconds) VALUES (?, ?, ?, ?)", stack, service, kind, seconds
        )
        self._store.write(
            "DELETE FROM spans WHERE stack = ? AND service = ? AND kind = ? AND id <= "
            "(SELECT id FROM spans WHERE stack = ? AND service = ? AND kind = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
            *(stack, service, kind, stack, service, kind, KEPT),
        )

    def spans(self, stack: str, service: str, kind: Literal["start", "stop"]) -> list[float]:
        """Seconds, shortest first."""
        found = self._store.rows(
            "SELECT seconds FROM spans WHERE stack = ? AND service = ? AND kind = ?", stack, service, kind
        )
        return sorted(float(row[0]) for row in found)

    # jobs

    def put_job(self, stack: str, service: str, slot: int, digest: str) -> None:
        """It has run to a good end with this definition and these inputs."""
        self._store.write("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?)", stack, service, slot, digest)

    def forget_jobs(self, stack: str, services: Iterable[str]) -> None:
        for service in services:
            self._store.write("DELETE FROM jobs WHERE stack = ? AND service = ?", stack, service)

    def jobs(self) -> frozenset[tuple[str, str, int, str]]:
        """(stack, service, slot, digest) of those that are done."""
        return frozenset(tuple(row) for row in self._store.rows("SELECT stack, service, slot, digest FROM jobs"))
