"""What must survive a reboot: stacks with their revisions, events, leases of networks, addresses and ports.

SQLite in WAL mode. What a user asked for is committed before he is told so; leases and events are committed once a
turn, because losing the last of them costs nothing that the next turn does not make again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.agent import history, spare
from orchestrator.errors import HostRefused

SCHEMA = """
CREATE TABLE IF NOT EXISTS stacks (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, wishes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS revisions (stack TEXT, revision INTEGER, document TEXT NOT NULL, wall_ns INTEGER NOT NULL,
    PRIMARY KEY (stack, revision));
CREATE TABLE IF NOT EXISTS networks (name TEXT PRIMARY KEY, stack TEXT NOT NULL, number INTEGER UNIQUE NOT NULL,
    subnet TEXT NOT NULL, gateway TEXT NOT NULL, internal INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS networks6 (name TEXT PRIMARY KEY, subnet TEXT NOT NULL, gateway TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS addresses (network TEXT, container TEXT, address TEXT NOT NULL,
    PRIMARY KEY (network, container));
CREATE TABLE IF NOT EXISTS ports (stack TEXT, service TEXT, key TEXT, port INTEGER NOT NULL,
    PRIMARY KEY (stack, service, key));
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, stack TEXT,
    document TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_stack ON events (stack, id);
"""
VERSION = 1
UNREADABLE = """SELECT (SELECT count(*) FROM stacks WHERE NOT json_valid(wishes)) +
    (SELECT count(*) FROM stacks s JOIN revisions r ON r.stack = s.name AND r.revision = s.revision
     WHERE NOT json_valid(r.document))"""
NODES = """
CREATE TABLE IF NOT EXISTS nodes (name TEXT PRIMARY KEY, place INTEGER NOT NULL, spec TEXT NOT NULL,
    cordoned INTEGER NOT NULL, drained INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS volume_nodes (volume TEXT PRIMARY KEY, node TEXT NOT NULL);
"""  # see `nodes`
RESERVED = 1 << 18  # bytes
PAGE = 4096  # bytes of a page of SQLite, unless told otherwise
EVENTS_KEPT = 20_000
EVENTS_AGE_NS = 90 * 86_400 * 10**9
REVISIONS_KEPT = 25


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the history: what happened to whom, and why. `wall_ns`: nanoseconds since the epoch."""

    wall_ns: int
    type: str
    action: str
    stack: str
    service: str
    subject: str
    why: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0  # in the order of writing; `attributes["because"]` is that of its cause


@dataclass(frozen=True, slots=True)
class NetworkLease:
    name: str
    stack: str
    number: int
    subnet: str
    gateway: str
    internal: bool
    subnet6: str = ""  # "": no IPv6
    gateway6: str = ""


class Store:
    """The one writer of STATE/pyorch.db. Raises HostRefused where the disk says no.

    `copy`: where what is wanted is written a second time (see `spare`). `damage`: what was wrong with the file that was
    found, in a sentence; None where nothing was.
    """

    def __init__(self, directory: str, copy: str | None = None) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        path = os.path.join(directory, "pyorch.db")
        self.damage: str | None = None
        self._copy = copy
        self._copy_is_old = False
        try:
            self._db, new = _open(path)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise HostRefused(f"cannot open {path}: {error}; is the disk full?") from error
            aside = _put_aside(path)
            self.damage = f"cannot read {path}: {error}; it was moved to {aside} and a new one begun"
            self._db, new = _open(path)
        self._reserved = _reserve(self._db)
        if new and copy and (stacks := spare.restore(self._db, copy)):
            self.damage = f"{self.damage or f'{path} was gone'}; taken from {copy}: {', '.join(stacks)}"

    def commit(self) -> None:
        """Make everything written so far survive this process; where that cannot be, none of it was ever written."""
        try:
            self._db.commit()
        except sqlite3.OperationalError as error:
            self._db.rollback()
            raise HostRefused(f"cannot write the agent's state: {error}; is the disk full?") from error
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free < RESERVED // PAGE // 2:  # used up by now
            self._reserved = _reserve(self._db)
        elif not self._reserved:  # the disk was full when we began
            self._reserved = _begun_anew(self._db)
        if self._copy_is_old and self._copy:
            with contextlib.suppress(OSError):  # the next commit tries again; only a second fault would miss it
                spare.keep(self._db, self._copy)
                self._copy_is_old = False

    def make_room(self) -> bool:
        """On a full disk: whether the journal can be begun anew, in the space that it has already (see `_reserve`), for
        a `down` must be possible just then. What was not committed is lost."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.rollback()
        return _begun_anew(self._db)

    def rollback(self) -> None:
        """Forget what was written since the last commit."""
        self._db.rollback()

    def _write(self, statement: str, *values: object) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise HostRefused(f"cannot write the agent's state: {error}; is the disk full?") from error

    def write(self, statement: str, *values: object) -> None:
        """For the tables of `history`, which are written in the same transaction. Raises HostRefused."""
        self._write(statement, *values)

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self._db.execute(statement, values).fetchall()

    def _write_wanted(self, statement: str, *values: object) -> None:
        self._copy_is_old = True
        self._write(statement, *values)

    # stacks and revisions

    def put_stack(self, name: str, revision: int, wishes: Mapping[str, Any]) -> None:
        self._write_wanted("INSERT OR REPLACE INTO stacks VALUES (?, ?, ?)", name, revision, json.dumps(wishes))

    def put_revision(self, name: str, revision: int, document: str, wall_ns: int) -> None:
        self._write("INSERT OR REPLACE INTO revisions VALUES (?, ?, ?, ?)", name, revision, document, wall_ns)

    def stacks(self) -> list[tuple[str, int, dict[str, Any]]]:
        rows = self._db.execute("SELECT name, revision, wishes FROM stacks ORDER BY name")
        return [(name, revision, json.loads(wishes)) for name, revision, wishes in rows]

    def revision(self, name: str, revision: int) -> str | None:
        """The stored document of one revision, or None where it was dropped."""
        row = self._db.execute(
            "SELECT document FROM revisions WHERE stack = ? AND revision = ?", (name, revision)
        ).fetchone()
        return str(row[0]) if row else None

    def documents(self) -> Iterator[str]:
        """Every revision that is kept, of every stack."""
        yield from (document for (document,) in self._db.execute("SELECT document FROM revisions"))

    def trim_revisions(self, name: str, in_use: set[int]) -> None:
        """Drop all but the newest revisions of a stack and those `in_use`."""
        rows = self._db.execute("SELECT revision FROM revisions WHERE stack = ? ORDER BY revision DESC", (name,))
        for (revision,) in rows.fetchall()[REVISIONS_KEPT:]:
            if revision not in in_use:
                self._write("DELETE FROM revisions WHERE stack = ? AND revision = ?", name, revision)

    def forget_stack(self, name: str) -> None:
        """The stack is gone: its revisions and leases go too; its events stay."""
        for table in ("revisions", "ports"):
            self._write(f"DELETE FROM {table} WHERE stack = ?", name)
        self._write_wanted("DELETE FROM stacks WHERE name = ?", name)

    # leases

    def networks(self) -> list[NetworkLease]:
        rows = self._db.execute(
            "SELECT n.name, stack, number, n.subnet, n.gateway, internal, s.subnet, s.gateway FROM networks n"
            " LEFT JOIN networks6 s ON s.name = n.name ORDER BY number"
        )
        return [
            NetworkLease(name, stack, number, subnet, gateway, bool(internal), subnet6 or "", gateway6 or "")
            for name, stack, number, subnet, gateway, internal, subnet6, gateway6 in rows
        ]

    def put_network(self, lease: NetworkLease) -> None:
        values = (lease.name, lease.stack, lease.number, lease.subnet, lease.gateway, int(lease.internal))
        self._write_wanted("INSERT OR REPLACE INTO networks VALUES (?, ?, ?, ?, ?, ?)", *values)
        if lease.subnet6:
            six = (lease.name, lease.subnet6, lease.gateway6)
            self._write_wanted("INSERT OR REPLACE INTO networks6 VALUES (?, ?, ?)", *six)

    def drop_network(self, name: str) -> None:
        self._write_wanted("DELETE FROM networks WHERE name = ?", name)
        self._write_wanted("DELETE FROM networks6 WHERE name = ?", name)
        self._write("DELETE FROM addresses WHERE network = ?", name)

    def addresses(self) -> Iterator[tuple[str, str, str]]:
        """(network, container name, address) of every lease."""
        yield from self._db.execute("SELECT network, container, address FROM addresses")

    def put_address(self, network: str, container: str, address: str) -> None:
        self._write("INSERT OR REPLACE INTO addresses VALUES (?, ?, ?)", network, container, address)

    def drop_address(self, network: str, container: str) -> None:
        self._write("DELETE FROM addresses WHERE network = ? AND container = ?", network, container)

    def port(self, stack: str, service: str, key: str) -> int | None:
        """The host port once chosen for a port that the file left open (`key`: "8000/tcp/0")."""
        row = self._db.execute(
            "SELECT port FROM ports WHERE stack = ? AND service = ? AND key = ?", (stack, service, key)
        ).fetchone()
        return int(row[0]) if row else None

    def put_port(self, stack: str, service: str, key: str, port: int) -> None:
        self._write_wanted("INSERT OR REPLACE INTO ports VALUES (?, ?, ?, ?)", stack, service, key, port)

    # events

    def put_event(self, event: Event) -> int:
        """Its number, by which others name it as their cause."""
        document = [event.type, event.action, event.service, event.subject, event.why, dict(event.attributes)]
        statement = "INSERT INTO events (wall_ns, stack, document) VALUES (?, ?, ?)"
        try:
            row = self._db.execute(statement, (event.wall_ns, event.stack, json.dumps(document)))
        except sqlite3.OperationalError as error:
            raise HostRefused(f"cannot write the agent's state: {error}; is the disk full?") from error
        return int(row.lastrowid or 0)

    def events(self, stack: str | None, since_ns: int) -> list[Event]:
        """Events not older than `since_ns`, oldest first; of all stacks where `stack` is None, else of this one and of
        the agent's own processes, which serve them all."""
        return self._events_where("wall_ns >= ? AND (? IS NULL OR stack IN (?, ''))", since_ns, stack, stack)

    def _events_where(self, condition: str, *values: object) -> list[Event]:
        rows = self._db.execute(
            f"SELECT id, wall_ns, stack, document FROM events WHERE {condition} AND json_valid(document) ORDER BY id",
            values,
        )
        found = []
        for number, wall_ns, of_stack, document in rows:
            kind, action, service, subject, why, attributes = json.loads(document)
            found.append(Event(wall_ns, kind, action, of_stack, service, subject, why, attributes, number))
        return found

    def latest_events(self, count: int) -> list[Event]:
        """The newest, oldest first."""
        (newest,) = self._db.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        return self._events_where("id > ?", newest - count)

    def trim_events(self, now_ns: int) -> None:
        """Drop what is beyond the newest EVENTS_KEPT, or older than EVENTS_AGE_NS."""
        self._write("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", EVENTS_KEPT)
        self._write("DELETE FROM events WHERE wall_ns < ?", now_ns - EVENTS_AGE_NS)

    def close(self) -> None:
        self.commit()
        self._db.close()


def _open(path: str) -> tuple[sqlite3.Connection, bool]:
    """The database, and whether it is a new one."""
    db = sqlite3.connect(path, isolation_level="DEFERRED", check_same_thread=False)
    try:
        os.chmod(path, 0o600)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        (found,) = db.execute("PRAGMA user_version").fetchone()
        if found > VERSION:
            raise HostRefused(
                f"cannot use {path}: a newer pyorch wrote it (version {found}, this one knows {VERSION}); "
                "install that version again, or use another --root"
            )
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("the integrity check failed")
        if found != VERSION:
            db.executescript(SCHEMA)
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.executescript(history.SCHEMA)
        db.executescript(NODES)
        if db.execute(UNREADABLE).fetchone()[0]:
            raise sqlite3.DatabaseError("a stack in it is no JSON")
    except BaseException:
        db.close()
        raise
    return db, found == 0


def _reserve(db: sqlite3.Connection) -> bool:
    """Make file and journal larger than they need to be: room for some changes when the disk is full. Where it is full
    already, nothing can be reserved, and nothing is lost by that: False."""
    with contextlib.suppress(sqlite3.OperationalError):
        db.execute("CREATE TABLE IF NOT EXISTS reserve (bytes BLOB)")
        db.execute("INSERT INTO reserve VALUES (zeroblob(?))", (RESERVED,))
        db.commit()
    with contextlib.suppress(sqlite3.OperationalError):
        db.rollback()
        db.execute("DELETE FROM reserve")
        db.commit()
    return _begun_anew(db)


def _begun_anew(db: sqlite3.Connection) -> bool:
    """The file is as long as it says it is, and the journal begins again at its start (sqlite.org/pragma.html)."""
    try:
        (blocked, _, _) = db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    except sqlite3.OperationalError:
        return False
    return not blocked


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is wrong. A full disk, or one that fails just now, is no reason to part with it."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _put_aside(path: str) -> str:
    """A damaged file is never overwritten. Its journal goes with it, or SQLite would play it into the new file."""
    aside = f"{path}.damaged"
    for part in ("", "-wal", "-shm"):
        if os.path.exists(path + part):
            os.replace(path + part, aside + part)
        elif os.path.exists(aside + part):
            os.unlink(aside + part)
    return aside
