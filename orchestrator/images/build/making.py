"""One step of a stage: found in the cache, or made; and what all steps of a build came to."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Container
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.errors import HostRefused
from orchestrator.images.build import cache
from orchestrator.images.build.cache import Record
from orchestrator.images.build.carried import Row
from orchestrator.images.build.dockerfile import Instruction, Wrong
from orchestrator.images.build.hands import Hands, Say
from orchestrator.images.build.ignore import Rule
from orchestrator.images.build.layers import Layer, Made, Packing
from orchestrator.images.build.meaning import digest, meaning
from orchestrator.images.build.order import Order
from orchestrator.images.build.plan import Stage
from orchestrator.images.build.reading import Reading
from orchestrator.images.build.result import said
from orchestrator.images.build.state import Copy, Make, Run, Step
from orchestrator.images.http import Refusal
from orchestrator.images.store import Store


@dataclass(frozen=True, slots=True)
class Done:
    """A step of stage number `stage`: what it means, and what it came to."""

    stage: int
    keys: frozenset[str]
    result: Layer | Record


class Making:
    """`patterns` and `hidden`: what of the context is not to be seen."""

    def __init__(self, order: Order, store: Store, hands: Hands, say: Say, reading: Reading, packing: Packing) -> None:
        self._order, self._store, self._hands, self._say = order, store, hands, say
        self._reading, self._packing = reading, packing
        self.patterns: list[str] = []
        self.hidden: tuple[Rule, ...] = ()
        self._lock = threading.Lock()
        self._scratch: list[str] = []
        self._running: set[str] = set()  # homes of steps
        self._done: list[Done] = []

    def step(self, stage: Stage, made: Made, one: Instruction, step: Step, number: str) -> None:
        """Puts what the step makes on top of `made`. Raises Wrong for what the Dockerfile's author can mend."""
        title = f"[{stage.label} {number}] {said(one)}"
        place = f"{stage.index} {number}"
        try:
            key, exact, record = self._known(stage, made, step)
            if record is not None:
                self._say(step=title, state="cached", key=place)
                path = self._store.layer(record.diff_id, record.diff_id) if record.digest else None
                layer = Layer(path, record) if path else None
            else:
                self._say(step=title, state="running", key=place)
                layer = Layer(self._make(step, made, stage, title, place))
                self._packing.begin(layer, key, exact)
                self._say(step=title, state="done", key=place)
        except ValueError as error:
            self._say(step=title, state="failed", key=place)
            if isinstance(error, Wrong):
                raise
            raise one.wrong(f"{one.keyword}: {error}") from error
        except (HostRefused, Refusal) as error:
            self._say(step=title, state="failed", key=place)
            raise type(error)(f"{self._order.cannot}: line {one.line}: {error}") from error
        made.key = exact
        if layer is not None:
            made.layers.append(layer)
        made.history.append({"created_by": said(one), "layer": layer})
        with self._lock:
            self._done.append(Done(stage.index, frozenset((key, exact)), layer or record or Record("")))

    def rows(self, stages: Container[int] | None) -> list[Row]:
        """What the steps of these stages (by number; None: of all) came to, for a cache that travels."""
        found = [
            Row(done.stage, done.keys, record)
            for done in self._done
            if stages is None or done.stage in stages
            if (record := done.result.record if isinstance(done.result, Layer) else done.result) is not None
        ]
        return sorted(found, key=lambda row: (row.stage, sorted(row.keys)))

    def running(self) -> list[str]:
        """The homes of steps whose programs run."""
        return list(self._running)

    def tidy(self) -> None:
        for directory in self._scratch:
            shutil.rmtree(directory, ignore_errors=True)

    def _known(self, stage: Stage, made: Made, step: Step) -> tuple[str, str, Record | None]:
        """(what it means, that said exactly, what it came to before). Where a COPY reads a stage of which something
        has changed, it is looked whether what it reads has."""
        fresh = self._order.no_cache or stage.label in self._order.no_cache_stages
        key = exact = digest(made.key, meaning(step, stage, self._order, self.hidden, self._reading))
        record = None if fresh else cache.find(self._store, key)
        if record is None and isinstance(step, Copy) and step.origin is not None:
            content = self._content(step, stage)
            exact = digest(made.key, meaning(step, stage, self._order, self.hidden, self._reading, content))
            record = None if fresh else cache.find(self._store, exact)
            if record is not None:
                cache.keep(self._store, key, record)  # found at once the next time
        return key, record.chain or exact if record is not None else exact, record

    def _content(self, step: Copy, stage: Stage) -> str:
        task: dict[str, Any] = {
            "deed": "digest",
            "source": self._reading.source(step.origin, stage),
            "home": self._home(),
        }
        task |= {"patterns": list(step.sources), "excludes": list(step.excludes), "parents": step.parents}
        return "content " + str(self._hands.do(task, lambda line: None)["digest"])

    def _make(self, step: Step, made: Made, stage: Stage, title: str, key: str) -> str:
        """The directory with what has changed."""
        home = self._home()
        place = {"home": home, "lower": made.lower(self._store), "scratch": not made.layers}
        hear = lambda line: self._say(step=title, state="output", line=line, key=key)  # noqa: E731
        match step:
            case Make():
                self._hands.do({"deed": "make", **place, "path": step.path, "user": step.user}, hear)
            case Copy():
                self._hands.do({"deed": "copy", **place, **self._copy_task(step, stage)}, hear)
            case Run():
                task = {"deed": "run", **place, **self._run_task(step, stage)}
                self._running.add(home)
                try:
                    done = self._hands.do(task, hear)
                finally:
                    self._running.discard(home)
                if done["code"] != 0:
                    raise ValueError(done["failure"] or f"the command ended with exit code {done['code']}")
        return os.path.join(home, "upper")

    def _copy_task(self, step: Copy, stage: Stage) -> dict[str, Any]:
        return {
            "source": self._reading.source(step.origin, stage),
            "patterns": list(step.sources),
            "fetched": list(step.fetched),
            "repositories": [self._checked(source, step.checksum) for source in step.repositories],
            "texts": [list(pair) for pair in step.texts],
            "target": step.target,
            "cwd": step.cwd,
            "owner": step.owner,
            "mode": step.mode,
            "excludes": list(step.excludes),
            "unpacks": step.unpacks,
            "checksum": step.checksum,
            "parents": step.parents,
            "hidden": [] if step.origin else self.patterns,
        }

    def _checked(self, source: str, checksum: str) -> str:
        """The directory of a repository. `checksum`: the commit it must be, or its beginning."""
        commit, directory = self._reading.clone(source)
        if not commit.startswith(checksum):
            raise ValueError(f"{source} is at commit {commit}, and --checksum says {checksum}")
        return directory

    def _run_task(self, step: Run, stage: Stage) -> dict[str, Any]:
        order = self._order
        mounts = []
        for mount in step.mounts:
            value = asdict(mount)
            if mount.kind == "bind" or mount.origin:
                value["from"] = self._reading.source(mount.origin, stage)
            if mount.kind == "cache" and mount.origin:
                value["id"] += f"\0{self._reading.key(mount.origin, stage)} {mount.source}"
            if mount.kind == "secret":
                if mount.id not in order.secrets:
                    if mount.required:
                        raise ValueError(f"there is no secret {mount.id!r}; give it under build.secrets")
                    continue
                value["content"] = order.secrets[mount.id]
            mounts.append(value)
        return {
            "arguments": list(step.arguments),
            "files": [list(pair) for pair in step.files],
            "environment": dict([*step.environment, *step.proxies]),
            "user": step.user,
            "cwd": step.cwd,
            "mounts": mounts,
            "network": step.network if step.network != "default" else order.network or "default",
            "shm_size": order.shm_size,
            "extra_hosts": dict(order.extra_hosts),
            "ulimits": {name: list(pair) for name, pair in order.ulimits.items()},
        }

    def _home(self) -> str:
        home = os.path.join(self._store.ingest, f"step-{secrets.token_hex(8)}")
        os.mkdir(home, 0o700)
        self._scratch.append(home)
        return home
