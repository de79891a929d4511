"""The image worker's side of a build: what it needs of networks, registries and repositories.

Steps get their places in a network from the agent, which makes one once a step asks; base images are pulled or taken
from the store; repositories are fetched as `sync` fetches them, and nothing in them runs.
"""

from __future__ import annotations

import asyncio
import os
import queue
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from orchestrator.agent import image_jobs
from orchestrator.agent.sources.git import Repository
from orchestrator.errors import HostRefused, Missing, Mistake, OrchestratorError
from orchestrator.images import layout, load, lookup, manifest, source
from orchestrator.images import reference as references
from orchestrator.images.build.builder import Builder, Order
from orchestrator.images.build.sources import repository
from orchestrator.images.http import Line
from orchestrator.images.intake import Intake
from orchestrator.images.pull import Want, pull
from orchestrator.images.push import push
from orchestrator.images.source import IMAGE
from orchestrator.images.store import Entry
from orchestrator.root import Root

Ask = Callable[[str], dict[str, Any]]  # asks the agent for something, and gives its answer
Tell = Callable[..., None]  # tell(reference, state=…): how far an image is
Pulled = Callable[[str, Entry, bool], None]  # (reference, row, whether it came now): a base image is here


class BuildWork:
    """The hands of all builds of one request (`images.build.hands`)."""

    def __init__(self, root: Root, intake: Intake, line: Line, ask: Ask, tell: Tell, pulled: Pulled) -> None:
        self._root, self._intake, self._store, self._line = root, intake, intake.store, line
        self._ask, self._tell, self._pulled = ask, tell, pulled
        self._slots: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._asking = threading.Lock()
        self._entered: dict[str, Any] | None = None  # the agent's answer, once a place in the network was asked for
        self._ended: dict[str, threading.Event] = {}
        self._built: set[str] = set()

    def expect(self, names: list[str]) -> None:
        """Those orders will be built; one that comes `after` another waits for it."""
        self._ended = {name: threading.Event() for name in names}

    def build(self, order: Order, say: Callable[..., None]) -> Entry:
        """Raises OrchestratorError."""
        try:
            for other in order.after:
                self._ended[other].wait()
                if other not in self._built:
                    raise Missing(f"{order.cannot}: '{other}', which it is made from, was not built")
            moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            with self._store.in_use(), self._contexts(order) as ready:
                entry = Builder(self._intake, self, self._base, ready, say, time.time(), moment).run()
            self._built.add(order.name)
            return entry
        finally:
            self._ended[order.name].set()

    # hands

    def do(self, task: dict[str, Any], hear: Callable[[str], None]) -> dict[str, Any]:
        """A step with a network first gets a place in it, and gives it back."""
        if task["deed"] != "run" or task["network"] != "default":
            return self._intake.hands.do(task, hear)
        self._enter_network()
        slot = self._slots.get()
        try:
            return self._intake.hands.do({**task, "attach": slot}, hear)
        finally:
            self._slots.put(slot)

    def stop(self, home: str) -> None:
        image_jobs.sweep(self._root, image_jobs.step_name(home))

    def give(self, entry: Entry, kind: str, where: str) -> None:
        if kind == "local":
            layout.write(self._store, entry, where)
        else:
            push(self._store, self._line, entry, references.parse(where), lambda **state: None)

    def clone(self, source: str, directory: str) -> tuple[str, str]:
        asked = repository(source)
        assert asked is not None
        os.mkdir(directory, 0o700)

        async def fetch() -> tuple[str, str]:
            remote = Repository(directory, asked.url)
            commit = await remote.resolve(asked.ref)
            await remote.fetch(commit)
            await remote.check_out(commit)
            return commit, remote.tree

        try:
            commit, tree = asyncio.run(fetch())
        except OrchestratorError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise ValueError(str(error)) from error
        inside = os.path.realpath(os.path.join(tree, asked.directory))
        if not os.path.isdir(inside) or os.path.commonpath([inside, tree]) != tree:
            shutil.rmtree(directory, ignore_errors=True)
            raise ValueError(f"{asked.url} has no directory {asked.directory!r}")
        return commit, inside

    # parts

    @contextmanager
    def _contexts(self, order: Order) -> Iterator[Order]:
        """The order with directories where it names repositories."""
        made: list[str] = []

        def local(where: str) -> str:
            if where.startswith(IMAGE) or not repository(where):
                return where
            made.append(os.path.join(self._store.ingest, f"context-{secrets.token_hex(8)}"))
            return self.clone(where, made[-1])[1]

        try:
            contexts = {name: local(where) for name, where in order.contexts.items()}
            yield replace(order, context=local(order.context), contexts=contexts)
        except ValueError as error:
            raise Mistake(f"{order.cannot}: {error}") from error
        finally:
            for directory in made:
                shutil.rmtree(directory, ignore_errors=True)

    def _enter_network(self) -> None:
        """The agent makes the network once a step needs it: a build from the cache never does."""
        with self._asking:
            if self._entered is None:
                self._entered = self._ask("network")
                for slot in self._entered["slots"]:
                    self._slots.put(slot)
            if not self._entered["slots"]:
                raise HostRefused(f"steps have no network: {self._entered.get('why')}")

    def _base(self, name: str, platform: str, again: bool) -> Entry:
        """The image after FROM: from the store, else from its registry."""
        if source.files(name):
            entry = load.take(self._intake, name, platform or None, time.time(), self._teller(name))
            self._pulled(name, entry, False)
            return entry
        if not again:
            wanted = manifest.platform(platform) if platform else None
            here = self._store.find(lookup.complete(name), wanted)
            if here is not None:
                try:
                    lookup.prepare(name, self._root, here.manifest.digest)
                    return here
                except lookup.Absent:
                    pass  # not whole: it is fetched again
        entry = pull(self._intake, self._line, Want(name, platform or None), time.time(), self._teller(name))
        self._pulled(name, entry, True)
        return entry

    def _teller(self, image: str) -> Callable[..., None]:
        return lambda **state: self._tell(image, **state)
