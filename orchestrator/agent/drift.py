"""What others have changed behind our back, looked for while the agent lives. Each find has a kind:

limits   somebody wrote into the control group of a container
network  a bridge was removed, the rules of the packet filter were flushed
files    the stack file, or a file that it was read from, was changed and not applied

The end of a container, whoever brought it about, needs no looking for: the launcher tells.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.agent import bounds
from orchestrator.agent.containers import Record
from orchestrator.kernel import cgroups
from orchestrator.kernel.inotify import Inotify
from orchestrator.reconcile.world import Wanted
from orchestrator.root import Root


@dataclass(frozen=True, slots=True)
class Find:
    """`kind` as above; `service` "" where it is not one service's."""

    kind: str
    stack: str
    service: str
    subject: str
    why: str


class Looker:
    """Told by the kernel of each write into a control group; of the files, it remembers how they were when their stack
    was applied."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._inotify = Inotify()
        self._groups: dict[str, str] = {}  # directory of a control group → container id
        self._followed: frozenset[str] = frozenset()
        self._files: dict[tuple[str, int], dict[str, tuple[int, int] | None]] = {}
        self.touched: dict[str, list[str]] = {}  # stack → files that differ from what was applied

    @property
    def descriptor(self) -> int:
        """Readable when somebody has written into a control group."""
        return self._inotify.fd

    def limits(self, records: Iterable[Record], ceiling: int) -> list[Find]:
        """Containers whose control group has just been found changed: those that were written to, and new ones."""
        running = {record.id: record for record in records if record.phase == "running" and not record.helper}
        ids = frozenset(running)
        written = self._written() & ids
        if ids != self._followed:
            written |= ids - self._followed
            self._follow(ids)
        found = []
        for record in (running[id] for id in sorted(written)):
            why = None if record.bounds_off else bounds.edited(self._root, record, ceiling)
            if why != record.edited:
                record.change(edited=why)
                if why and "limits" not in record.definition.healing.ignore:
                    found.append(Find("limits", record.stack, record.service, record.name, why))
        return found

    def _follow(self, ids: frozenset[str]) -> None:
        groups = {id: cgroups.Group(f"/{self._root.cgroup}/{id}").directories.values() for id in ids}
        self._groups = {directory: id for id, directories in groups.items() for directory in directories}
        self._inotify.follow(set(self._groups))
        self._followed = ids

    def _written(self) -> set[str]:
        found: set[str] = set()
        while changes := self._inotify.read():
            for change in changes:
                if not change.directory:  # the kernel lost count: look at all of them
                    found |= self._followed
                elif change.directory in self._groups:
                    found.add(self._groups[change.directory])
        return found

    def files(self, wanted: Iterable[Wanted]) -> list[Find]:
        """Files that were changed since their stack was applied: told once each."""
        found: list[Find] = []
        present = {}
        for wish in wanted:
            key = (wish.stack.name, id(wish.stack))  # each apply brings a stack of its own
            names = [*wish.stack.files, *wish.stack.inputs]
            then = self._files.get(key)
            if then is None:
                then = self._files[key] = {name: _state(name) for name in names}
                self.touched[wish.stack.name] = []
            present[key] = then
            for name in names:
                told = self.touched.setdefault(wish.stack.name, [])
                if _state(name) != then.get(name) and name not in told:
                    told.append(name)
                    why = f"{name} was changed since revision {wish.revision}; 'pyorch plan' shows what that means"
                    found.append(Find("files", wish.stack.name, "", name, why))
        self._files = present
        return found


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
