"""What users asked for: one Wanted per stack, its revisions, and everything asked of it since (scale, stop, down)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.agent import clock
from orchestrator.agent.store import Store
from orchestrator.errors import HostRefused
from orchestrator.reconcile.world import Wanted
from orchestrator.stack.model import Service, Stack
from orchestrator.stack.store import from_json, to_json


class Wishes:
    """The wanted stacks. Whatever is set here is on the disk before the caller goes on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wanted: dict[str, Wanted] = {}
        self._documents: dict[str, str] = {}
        self._old: dict[tuple[str, int], Stack | None] = {}
        for name, revision, wishes in store.stacks():
            document = store.revision(name, revision)
            if document is not None:
                self._documents[name] = document
                self._wanted[name] = self._revive(from_json(document), revision, wishes)

    def all(self) -> tuple[Wanted, ...]:
        return tuple(self._wanted.values())

    def get(self, stack: str) -> Wanted | None:
        return self._wanted.get(stack)

    def revised(self, stack: Stack) -> Wanted:
        """What would be wanted were this the stack: a new revision where its document differs from the present one.

        Nothing is remembered until `put`.
        """
        before = self._wanted.get(stack.name)
        if before is None:
            return Wanted(stack)
        if self._documents[stack.name] == to_json(stack):
            return before
        return replace(before, stack=stack, revision=before.revision + 1)

    def put(self, wish: Wanted) -> None:
        """Remember what is wanted. Raises HostRefused where the disk is full: then nothing has changed."""
        # Times are of this boot: marks of an earlier one have no meaning, and no container is older than the boot.
        wishes = {
            "boot": clock.boot_id(),
            "active": sorted(wish.active),
            "stopped": sorted(wish.stopped),
            "restarts": dict(wish.restarts),
            "recreate": dict(wish.recreate),
            "retries": dict(wish.retries),
            "scale": dict(wish.scale),
            "orphans": [[name, self._home_of(wish, name)] for name in wish.orphans],
            "down": wish.down,
            "remove_volumes": wish.remove_volumes,
            "grace": wish.grace,
        }
        name = wish.stack.name
        present = self._wanted.get(name)
        if present is None or present.revision != wish.revision:
            document = to_json(wish.stack)
        else:
            document = self._documents[name]
        try:
            self._write(name, wish.revision, document, wishes)
        except HostRefused:
            if not self._store.make_room():
                raise
            self._write(name, wish.revision, document, wishes)
        self._wanted[name] = wish
        self._documents[name] = document

    def _write(self, name: str, revision: int, document: str, wishes: dict[str, Any]) -> None:
        try:
            if document is not self._documents.get(name):
                self._store.put_revision(name, revision, document, clock.wall_ns())
                self._store.trim_revisions(name, {home for _, home in wishes["orphans"]})
            self._store.put_stack(name, revision, wishes)
            self._store.commit()
        except HostRefused:
            self._store.rollback()
            raise

    def _home_of(self, wish: Wanted, service: str) -> int:
        """The newest revision that has an orphan's definition."""
        for revision in range(wish.revision, 0, -1):
            if self.definition(wish.stack.name, revision, service) is not None:
                return revision
        return 0

    def _revive(self, stack: Stack, revision: int, wishes: dict[str, Any]) -> Wanted:
        this_boot = wishes["boot"] == clock.boot_id()
        orphans = {name: self.definition(stack.name, home, name) for name, home in wishes["orphans"]}
        return Wanted(
            stack=stack,
            revision=revision,
            active=frozenset(wishes["active"]),
            stopped=frozenset(wishes["stopped"]),
            restarts=wishes["restarts"] if this_boot else {},
            recreate=wishes["recreate"] if this_boot else {},
            retries=wishes["retries"] if this_boot else {},
            orphans={name: service for name, service in orphans.items() if service is not None},
            scale=wishes["scale"],
            down=wishes["down"],
            remove_volumes=wishes["remove_volumes"],
            grace=wishes["grace"],
        )

    def definition(self, stack: str, revision: int, service: str) -> Service | None:
        """A service as it was in a revision; None where that revision was dropped or had no such service."""
        present = self._wanted.get(stack)
        if present is not None and present.revision == revision:
            return present.stack.services.get(service) or present.orphans.get(service)
        if (stack, revision) not in self._old:
            document = self._store.revision(stack, revision)
            self._old[stack, revision] = from_json(document) if document else None
        old = self._old[stack, revision]
        return old.services.get(service) if old else None

    def forget(self, stack: str) -> None:
        """The stack is down and gone. Raises HostRefused where the disk is full: then it is still known."""
        try:
            self._store.forget_stack(stack)
            self._store.commit()
        except HostRefused:
            if not self._store.make_room():
                raise
            self._store.forget_stack(stack)
            self._store.commit()
        self._wanted.pop(stack, None)
        self._documents.pop(stack, None)
        self._old = {key: value for key, value in self._old.items() if key[0] != stack}
