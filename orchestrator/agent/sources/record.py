"""What is remembered of a source: what its owner asked for, and how far we are. Files in a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.agent.sources.allow import Allow
from orchestrator.agent.sources.git import Access, Verify
from orchestrator.policy.sync import SyncPolicy, SyncState
from orchestrator.stack.store import made


@dataclass(frozen=True, slots=True)
class Source:
    """One repository that this machine follows, as its owner wrote it. `timeout` and `settle` in seconds."""

    name: str
    repo: str
    ref: str = ""  # a branch, a tag, `semver:RANGE`, a commit; "": the remote's HEAD
    path: str = "stack.yaml"  # within the repository; `*` and `**` lead to several stacks
    policy: SyncPolicy = SyncPolicy()
    prune: bool = False  # what the repository no longer has is taken away; volumes never are
    timeout: float = 600.0  # for one attempt to come up whole
    settle: float = 2.0  # seconds its stacks must then stay well before the commit counts as good
    allow: Allow = Allow()
    access: Access = Access()
    verify: Verify | None = None
    environment: Mapping[str, str] = field(default_factory=dict)  # for ${…} in its stacks; nothing of the agent's own
    age_key: str | None = None  # the file of identities that opens what is encrypted for this machine
    webhook: str | None = None  # HOST:PORT on which a push may be announced …
    secret: str = ""  # … by whoever knows this


class Shelf:
    """One source's files below `directory`: source.json, state.json, stacks.json, and what git needs."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def write(self, source: Source) -> None:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        self._put("source.json", asdict(source))

    def read(self) -> Source:
        source: Source = made(Source, self._get("source.json"))
        return source

    def write_state(self, state: SyncState) -> None:
        self._put("state.json", asdict(state))

    def state(self) -> SyncState:
        try:
            state: SyncState = made(SyncState, self._get("state.json"))
        except FileNotFoundError:
            return SyncState()
        return state

    def write_stacks(self, stacks: Mapping[str, list[str]]) -> None:
        """Which stacks are this source's, and the services each had when it was applied last."""
        self._put("stacks.json", dict(stacks))

    def stacks(self) -> dict[str, list[str]]:
        try:
            return dict(self._get("stacks.json"))
        except FileNotFoundError:
            return {}

    def remove(self, but: str = "") -> None:
        """All of it but the entry of that name; what says that there is a source goes first."""
        for name in sorted(os.listdir(self.directory), key=lambda name: name != "source.json"):
            path = os.path.join(self.directory, name)
            if name == but:
                continue
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        if not but:
            os.rmdir(self.directory)

    def _get(self, name: str) -> dict[str, Any]:
        with open(os.path.join(self.directory, name), encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
        return found

    def _put(self, name: str, value: Mapping[str, Any]) -> None:
        """Whole or not at all, whatever dies in between."""
        beside = os.path.join(self.directory, f"{name}.new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, os.path.join(self.directory, name))


def shown(url: str) -> str:
    """An address without the password in it."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at and "://" in head and ":" in head.partition("://")[2] else url
