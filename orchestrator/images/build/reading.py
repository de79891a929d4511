"""Where the steps of a build read from (contexts, stages, images, repositories), and how each is known."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from orchestrator.errors import Mistake
from orchestrator.images.build import context, plan
from orchestrator.images.build.layers import Made
from orchestrator.images.build.order import Order
from orchestrator.images.build.plan import Stage
from orchestrator.images.reference import one_spelling
from orchestrator.images.source import IMAGE
from orchestrator.images.store import Store

T = TypeVar("T")


class Reading:
    """`begin` starts a stage; `image` gets an image of a registry or of files, for a platform; `clone` fetches a
    repository into a directory: (commit, where its files are)."""

    def __init__(
        self,
        order: Order,
        store: Store,
        pool: ThreadPoolExecutor,
        begin: Callable[[Stage], Future[Made]],
        image: Callable[[str, str], Made],
        clone: Callable[[str, str], tuple[str, str]],
    ) -> None:
        self._order, self._store, self._pool = order, store, pool
        self._contexts = _spelled_once(order)
        self._begin, self._image, self._clone = begin, image, clone
        self._lock = threading.Lock()
        self._images: dict[tuple[str, str], Future[Made]] = {}
        self._clones: dict[str, Future[tuple[str, str]]] = {}
        self._aside: list[str] = []
        self.stages: Sequence[Stage] = ()

    def source(self, origin: str | None, stage: Stage) -> dict[str, Any]:
        """For the hands: a directory, or the layers of a root, the topmost first."""
        if not origin:
            return {"directory": self._order.context}
        named = self._named(origin)
        if named and not named.startswith(IMAGE):
            return {"directory": named}
        return {"layers": self._made(origin, stage).lower(self._store)}

    def key(self, origin: str, stage: Stage) -> str:
        """Changes when what is there changes."""
        named = self._named(origin)
        if named and not named.startswith(IMAGE):
            return context.digest(named, ["."], ())
        return self._made(origin, stage).key

    def base(self, stage: Stage) -> Made | None:
        """What a stage begins from; None for an empty root."""
        named = self._named(stage.base)
        if named and not named.startswith(IMAGE):
            why = f"FROM {stage.base}: the named context is a directory and no image"
            raise stage.origin.wrong(why, stage.origin.rest.split()[0])
        if not named and stage.base == "scratch":
            return None
        earlier = plan.find(self.stages, stage.base, stage.index)
        if not named and earlier is not None:
            return self._begin(earlier).result()
        return self.image(named.removeprefix(IMAGE) or stage.base, stage.platform)

    def image(self, name: str, platform: str = "") -> Made:
        """Fetched once, however many stages begin from it or read from it."""
        return self._once(self._images, (name, platform), lambda: self._image(name, platform))

    def clone(self, source: str) -> tuple[str, str]:
        """(commit, directory) of a repository; fetched once."""

        def get() -> tuple[str, str]:
            aside = os.path.join(self._store.ingest, f"clone-{secrets.token_hex(8)}")
            self._aside.append(aside)
            return self._clone(source, aside)

        return self._once(self._clones, source, get)

    def tidy(self) -> None:
        for directory in self._aside:
            shutil.rmtree(directory, ignore_errors=True)

    def _named(self, origin: str) -> str:
        """Where the named context of that name is; "" where none is."""
        return self._contexts.get(one_spelling(origin), "")

    def _made(self, origin: str, stage: Stage) -> Made:
        named = self._named(origin)
        earlier = plan.find(self.stages, origin, stage.index)
        if not named and earlier is not None:
            return self._begin(earlier).result()
        return self.image(named.removeprefix(IMAGE) or origin)

    def _once(self, known: dict[Any, Future[T]], key: Any, get: Callable[[], T]) -> T:
        with self._lock:
            if key not in known:
                known[key] = self._pool.submit(get)
        return known[key].result()


def _spelled_once(order: Order) -> dict[str, str]:
    """The named contexts, each under the one spelling of its name. Raises Mistake where two are one name."""
    written: dict[str, str] = {}
    for name in order.contexts:
        other = written.setdefault(one_spelling(name), name)
        if other != name:
            raise Mistake(f"{order.cannot}: additional_contexts has {other!r} and {name!r}, which are one name")
    return {one: order.contexts[name] for one, name in written.items()}
