"""What others have changed behind our back, looked for while the agent lives; of what kinds there are, and what is done
about each, `reconcile.drift` tells. The end of a container needs no looking for: the launcher tells.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence

from orchestrator.agent import bounds
from orchestrator.agent.containers import Containers, Record
from orchestrator.agent.finds import Find
from orchestrator.agent.netdrift import NetworkLooker
from orchestrator.agent.wiring import Wiring
from orchestrator.kernel.inotify import Inotify
from orchestrator.reconcile import drift
from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.world import Wanted
from orchestrator.root import Root
from orchestrator.stack.model import Service
from orchestrator.storage import materials


class Looker:
    """Told by the kernel of each write to a limit of a control group, or to a config or secret; of the stack's own
    files, it remembers how they were when it was applied. `told` is set when there is something to look at."""

    def __init__(self, root: Root, wiring: Wiring, containers: Containers) -> None:
        self._root = root
        self._containers = containers
        self.told = asyncio.Event()
        self.network = NetworkLooker(root, wiring, containers, self.told)
        self.trouble = ""  # why the last look could not see all
        self._inotify = Inotify()
        asyncio.get_running_loop().add_reader(self._inotify.fd, self.told.set)
        self._of: dict[str, str] = {}  # file of a control group, directory of configs and secrets → container id
        self._followed: dict[str, tuple[Service, int]] = {}  # container id → the definition and the run of its group
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
        written = self._written() & running.keys()
        fresh = {id for id, record in running.items() if not self._is_followed(record)}
        if fresh or len(running) < len(self._followed):
            self._follow(running, fresh, ceiling)
            written |= fresh
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

    def _is_followed(self, record: Record) -> bool:
        definition, run = self._followed.get(record.id, (None, 0))
        return definition is record.definition and run == record.runs

    def _follow(self, running: Mapping[str, Record], fresh: set[str], ceiling: int) -> None:
        homes = {materials.home(self._root, id): id for id in running}
        limits = {file: id for file, id in self._of.items() if id in running and id not in fresh and file not in homes}
        # A group that is made anew has new files of the same names, and is not told of.
        self._inotify.follow(set(homes), limits.keys())
        limits |= {file: id for id in fresh for file in bounds.files(self._root, running[id], ceiling)}
        self._inotify.follow(set(homes), limits.keys())
        self._of = limits | homes
        self._followed = {id: (record.definition, record.runs) for id, record in running.items()}

    def _written(self) -> set[str]:
        found: set[str] = set()
        while changes := self._inotify.read():
            for change in changes:
                if not change.directory:  # the kernel lost count: look at all of them
                    found |= self._followed.keys()
                elif change.directory in self._of:
                    found.add(self._of[change.directory])
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
