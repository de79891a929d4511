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
from orchestrator.reconcile.world import Wanted
from orchestrator.root import Root

AT_ONCE = 100  # containers whose limits are read in one look


@dataclass(frozen=True, slots=True)
class Find:
    """`kind` as above; `service` "" where it is not one service's."""

    kind: str
    stack: str
    service: str
    subject: str
    why: str


class Looker:
    """Remembers how the files were when their stack was applied, and where the last look at limits ended."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._next = 0
        self._files: dict[tuple[str, int], dict[str, tuple[int, int] | None]] = {}
        self.touched: dict[str, list[str]] = {}  # stack → files that differ from what was applied

    def limits(self, records: list[Record], ceiling: int) -> list[Find]:
        """Containers whose control group has just been found changed; a part of them at each look."""
        if not records:
            return []
        start = self._next % len(records)
        part = (records + records)[start : start + min(AT_ONCE, len(records))]
        self._next = (start + len(part)) % len(records)
        found = []
        for record in part:
            if record.phase != "running" or record.bounds_off or record.helper:
                continue
            why = bounds.edited(self._root, record, ceiling)
            if why != record.edited:
                record.change(edited=why)
                if why and "limits" not in record.definition.healing.ignore:
                    found.append(Find("limits", record.stack, record.service, record.name, why))
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
