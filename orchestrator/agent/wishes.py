"""What users asked for: one Wanted per stack, its revisions, and everything asked of it since (scale, stop, down)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from orchestrator.agent import clock
from orchestrator.agent.history import Apply, History, Outcome
from orchestrator.agent.store import Store
from orchestrator.errors import HostRefused
from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.difference import difference, same
from orchestrator.reconcile.replica import Replica
from orchestrator.reconcile.world import Container, Wanted
from orchestrator.stack.model import Service, Stack
from orchestrator.stack.store import from_json, to_json


class Wishes:
    """The wanted stacks. Whatever is set here is on the disk before the caller goes on.

    Raises HostRefused where another version of pyorch wrote what is on the disk in words that this one does not know.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.history = History(store)
        self.done = self.history.jobs()
        self._wanted: dict[str, Wanted] = {}
        self._documents: dict[str, str] = {}
        self._old: dict[tuple[str, int], Stack | None] = {}
        for name, revision, wishes in store.stacks():
            document = store.revision(name, revision)
            if document is not None:
                self._documents[name] = document
                self._wanted[name] = self._revive(_read(name, revision, document), revision, wishes)

    def all(self) -> tuple[Wanted, ...]:
        return tuple(self._wanted.values())

    def get(self, stack: str) -> Wanted | None:
        return self._wanted.get(stack)

    def revised(self, stack: Stack) -> Wanted:
        """What would be wanted were this the stack: a new revision where it means something else than the present one.

        Nothing is remembered until `put`.
        """
        before = self._wanted.get(stack.name)
        if before is None:
            return Wanted(stack)
        if same(before.stack, stack):  # the file may have moved, and its lines with it
            return replace(before, stack=stack)
        return replace(before, stack=stack, revision=before.revision + 1, proven=False, taken_back=frozenset())

    def put(self, wish: Wanted, cause: str = "") -> None:
        """Remember what is wanted; `cause`: what a new revision is written down with. Raises HostRefused where the
        disk is full: then nothing has changed."""
        # Times are of this boot: marks of an earlier one have no meaning, and no container is older than the boot.
        wishes = {
            "boot": clock.boot_id(),
            "active": sorted(wish.active),
            "stopped": sorted(wish.stopped),
            "restarts": dict(wish.restarts),
            "unfollowed": sorted(wish.unfollowed),
            "recreate": dict(wish.recreate),
            "renewed": dict(wish.renewed),
            "retries": dict(wish.retries),
            "scale": dict(wish.scale),
            "orphans": [[name, self._home_of(wish, name)] for name in wish.orphans],
            "down": wish.down,
            "remove_volumes": wish.remove_volumes,
            "grace": wish.grace,
            "proven": wish.proven,
            "taken_back": sorted(wish.taken_back),
            "promoted": dict(wish.promoted),
            "suspended": {key: [_wall(until), why, until] for key, (until, why) in wish.suspended.items()},
        }
        name = wish.stack.name
        present = self._wanted.get(name)
        if present is not None and present.stack is wish.stack and present.revision == wish.revision:
            document = self._documents[name]
        else:
            document = to_json(wish.stack)
        new = present is None or present.revision != wish.revision
        apply = self._apply(wish, present, cause) if new else None
        try:
            self._write(name, wish.revision, document, wishes, apply)
        except HostRefused:
            if not self._store.make_room():
                raise
            self._write(name, wish.revision, document, wishes, apply)
        self._wanted[name] = replace(wish, stack=replace(wish.stack, contents={})) if wish.stack.contents else wish
        self._documents[name] = document

    def _apply(self, wish: Wanted, present: Wanted | None, cause: str) -> Apply:
        summary = difference(present.stack, wish.stack).summary() if present is not None else "first"
        active = tuple(sorted(wish.active))
        return Apply(wish.revision, clock.wall_ns(), cause, summary, active=active, scale=dict(wish.scale))

    def ended(self, stack: str, outcome: Outcome, why: str = "") -> None:
        """How the present revision went; a good one is remembered as proven. Raises HostRefused."""
        wish = self._wanted[stack]
        self.history.end(stack, wish.revision, outcome, why)
        self.put(replace(wish, proven=wish.proven or outcome == "good"))

    def _write(
        self, name: str, revision: int, document: str, wishes: dict[str, Any], apply: Apply | None = None
    ) -> None:
        try:
            if document is not self._documents.get(name):
                self._store.put_revision(name, revision, document, clock.wall_ns())
                self._store.trim_revisions(name, {home for _, home in wishes["orphans"]})
            if apply is not None:
                self._overtake(name)
                self.history.put(name, apply)
                self.history.trim(name)
            self._store.put_stack(name, revision, wishes)
            self._store.commit()
        except HostRefused:
            self._store.rollback()
            raise

    def note_jobs(self, containers: Iterable[Container]) -> None:
        """Jobs that have come to a good end are remembered: past their containers, and past a reboot."""
        for one in containers:
            wish = self._wanted.get(one.stack) if one.phase == "exited" and one.exits and one.exits[-1].good else None
            if wish is None or one.exits[-1].started < wish.recreate.get(one.service, 0.0):
                continue  # the latter is to be made anew, and to do its work again
            if one.service in blueprint(wish.stack).jobs:
                self._job_done(one.stack, one.service, one.slot, one.digest)

    def job_done(self, replica: Replica) -> None:
        self._job_done(replica.stack, replica.service, replica.slot, replica.digest)

    def _job_done(self, stack: str, service: str, slot: int, digest: str) -> None:
        job = (stack, service, slot, digest)
        if job not in self.done:
            self.history.put_job(*job)
            self.done = frozenset({job, *(other for other in self.done if other[:3] != job[:3])})

    def repeat_jobs(self, stack: str, services: Iterable[str]) -> None:
        """What they have done is done again."""
        again = set(services)
        self.history.forget_jobs(stack, again)
        self.done = frozenset(job for job in self.done if job[0] != stack or job[1] not in again)

    def _overtake(self, name: str) -> None:
        present = self._wanted.get(name)
        if present is not None and not present.proven:
            newest = next(iter(self.history.of(name)), None)
            if newest is not None and newest.outcome == "under way":
                self.history.end(name, newest.revision, "overtaken", "a newer revision came before it was ready")

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
            unfollowed=frozenset(wishes.get("unfollowed", ())),
            recreate=wishes["recreate"] if this_boot else {},
            renewed=wishes.get("renewed", {}),
            retries=wishes["retries"] if this_boot else {},
            orphans={name: service for name, service in orphans.items() if service is not None},
            scale=wishes["scale"],
            down=wishes["down"],
            remove_volumes=wishes["remove_volumes"],
            grace=wishes["grace"],
            proven=wishes.get("proven", False),
            taken_back=frozenset(wishes.get("taken_back", ())),
            promoted=wishes.get("promoted", {}),
            suspended={
                key: (until[0] if until and this_boot else _of_this_boot(wall), why)
                for key, (wall, why, *until) in wishes.get("suspended", {}).items()
            },
        )

    def definition(self, stack: str, revision: int, service: str) -> Service | None:
        """A service as it was in a revision; None where that revision was dropped or had no such service."""
        present = self._wanted.get(stack)
        if present is not None and present.revision == revision:
            return present.stack.services.get(service) or present.orphans.get(service)
        old = self.revision(stack, revision)
        return old.services.get(service) if old else None

    def revision(self, stack: str, revision: int) -> Stack | None:
        """A stack as it was; None where that revision was dropped, or never was."""
        present = self._wanted.get(stack)
        if present is not None and present.revision == revision:
            return present.stack
        if (stack, revision) not in self._old:
            document = self._store.revision(stack, revision)
            self._old[stack, revision] = from_json(document) if document else None
        return self._old[stack, revision]

    def forget(self, stack: str) -> None:
        """The stack is down and gone. Raises HostRefused where the disk is full: then it is still known."""
        try:
            self._forget(stack)
        except HostRefused:
            if not self._store.make_room():
                raise
            self._forget(stack)
        self._wanted.pop(stack, None)
        self._documents.pop(stack, None)
        self.done = frozenset(job for job in self.done if job[0] != stack)
        self._old = {key: value for key, value in self._old.items() if key[0] != stack}

    def _forget(self, stack: str) -> None:
        self._store.forget_stack(stack)
        self.history.forget(stack)
        self._store.commit()


def _read(name: str, revision: int, document: str) -> Stack:
    try:
        return from_json(document)
    except (KeyError, TypeError) as error:
        raise HostRefused(
            f"cannot read what is wanted of stack '{name}' (revision {revision}): another version of pyorch wrote it "
            f"({error}); install that version again, or use another --root"
        ) from error


def _wall(until: float) -> int:
    """The end of a suspension, as nanoseconds since the epoch: it holds over a reboot."""
    return clock.wall_ns() + int((until - clock.boottime()) * 1e9)


def _of_this_boot(wall_ns: int) -> float:
    return clock.boottime() + (wall_ns - clock.wall_ns()) / 1e9
