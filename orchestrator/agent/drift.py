"""What others have changed behind our back, looked for while the agent lives; of what kinds there are, and what is done
about each, `reconcile.drift` tells. The end of a container needs no looking for: the launcher tells.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence

from orchestrator.agent import bounds
from orchestrator.agent.containers import Containers, Record
from orchestrator.agent.finds import Find
from orchestrator.agent.netdrift import NetworkLooker
from orchestrator.agent.wiring import Wiring
from orchestrator.kernel import cgroups
from orchestrator.kernel.inotify import Inotify
from orchestrator.reconcile import drift
from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.world import Wanted
from orchestrator.root import Root
from orchestrator.storage import materials


class Looker:
    """Told by the kernel of each write into a control group, or into a file of a config or secret; of the stack's own
    files, it remembers how they were when it was applied. `told` is set when there is something to look at."""

    def __init__(self, root: Root, wiring: Wiring, containers: Containers) -> None:
        self._root = root
        self._containers = containers
        self.told = asyncio.Event()
        self.network = NetworkLooker(root, wiring, containers, self.told)
        self.trouble = ""  # why the last look could not see all
        self._inotify = Inotify()
        asyncio.get_running_loop().add_reader(self._inotify.fd, self.told.set)
        self._groups: dict[str, str] = {}  # directory of a control group, or of configs and secrets → container id
        self._followed: frozenset[str] = frozenset()
        self._files: dict[tuple[str, int], dict[str, tuple[int, int] | None]] = {}
        self.touched: dict[str, list[str]] = {}  # stack → files that differ from what was applied

    def look(self, wanted: Sequence[Wanted], busy: frozenset[str], ceiling: int) -> list[Find]:
        """What has just been found."""
        self.told.clear()
        found = [*self._written_to(wanted, ceiling), *self.files(wanted)]
        try:
            found += self.network.look(wanted, busy)
        except OSError as error:  # a dump that a change has interrupted: the next look asks again
            self.network.again()
            self.trouble = f"cannot look at the networks: {error}"
        else:
            self.trouble = ""
        return found

    def _written_to(self, wanted: Sequence[Wanted], ceiling: int) -> list[Find]:
        """Containers whose control group or materials were written to, and new ones."""
        running = {r.id: r for r in self._containers if r.phase == "running" and not r.helper}
        ids = frozenset(running)
        written = self._written() & ids
        if ids != self._followed:
            written |= ids - self._followed
            self._follow(ids)
        stacks = {one.stack.name: one for one in wanted}
        found = []
        for record in (running[id] for id in sorted(written)):
            why = None if record.bounds_off else bounds.edited(self._root, record, ceiling)
            said = _said(record, stacks.get(record.stack))
            touched = materials.touched(self._root, record.definition, record.id, said)
            for kind, what in (("limits", why), ("config", touched)):
                if record.drift(kind, what) and what:
                    answer = record.definition.healing.answer(kind)
                    found.append(Find(kind, record.stack, record.service, record.name, what, answer))
        return found

    def _follow(self, ids: frozenset[str]) -> None:
        groups = {id: cgroups.Group(f"/{self._root.cgroup}/{id}").directories.values() for id in ids}
        self._groups = {directory: id for id, directories in groups.items() for directory in directories}
        self._groups |= {materials.home(self._root, id): id for id in ids}
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
                    answer = "ignore" if drift.of_stack(wish.stack, "files") == "ignore" else "report"
                    found.append(Find("files", wish.stack.name, "", name, why, answer))
        self._files = present
        return found


def _said(record: Record, wish: Wanted | None) -> dict[str, str]:
    """What its configs and secrets should say, as digests: what it was given anew, else what its stack says, if that is
    what it was made from."""
    if wish is None or blueprint(wish.stack).digests.get(record.service) != record.digest:
        return dict(record.contents)
    things = [("config", wish.stack.configs), ("secret", wish.stack.secrets)]
    return {f"{kind}.{key}": thing.digest for kind, of in things for key, thing in of.items()} | dict(record.contents)


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
