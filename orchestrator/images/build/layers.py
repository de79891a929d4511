"""The layers of a build on their way: where they lie, and their blobs, made while the next steps go on."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from orchestrator.images.build import cache
from orchestrator.images.build.cache import Record
from orchestrator.images.build.hands import Hands
from orchestrator.images.build.state import State
from orchestrator.images.lookup import topmost
from orchestrator.images.manifest import Platform
from orchestrator.images.store import Store


@dataclass(slots=True)
class Layer:
    """One change on top of another. `path` is where it lies now; `packing` gives its blob."""

    path: str
    record: Record | None = None
    packing: Future[tuple[Record, dict[str, Any]]] | None = None
    keys: frozenset[str] = frozenset()  # what the step means, for the cache


@dataclass(slots=True)
class Made:
    """What a stage has come to."""

    state: State
    layers: list[Layer]  # the lowest first
    key: str
    history: list[dict[str, Any]]
    platform: Platform
    created: str = ""

    def lower(self, store: Store) -> list[str]:
        """Directories for overlayfs, topmost first."""
        return list(topmost(layer.path for layer in self.layers)) or [store.empty()]


class Packing:
    """Directories of steps become blobs. `moment`: now, RFC 3339."""

    def __init__(self, store: Store, hands: Hands, moment: str) -> None:
        self._store, self._hands, self._moment = store, hands, moment
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "pack")
        self._lock = threading.Lock()

    def close(self) -> None:
        self._pool.shutdown()

    def begin(self, layer: Layer, key: str, chain: str) -> None:
        layer.keys = frozenset((key, chain))
        layer.packing = self._pool.submit(self._packed, layer.path, chain)

    def settle(self, made: Made, wait: bool = False) -> None:
        """Layers whose blob is made move to their place in the store, between two steps: nothing is mounted now."""
        for layer in made.layers:
            packing = layer.packing
            if packing is None or not (wait or packing.done()):
                continue
            record, found = packing.result()
            with self._lock:
                if layer.packing is None:
                    continue
                if record.digest:
                    notes = {"size": found["used"], "entries": found["entries"], "data": found["used"]}
                    layer.path = self._store.keep_layer(layer.path, record.diff_id, notes)
                for key in layer.keys:
                    cache.keep(self._store, key, record)
                layer.record, layer.packing = record, None
        made.layers = [layer for layer in made.layers if layer.record is None or layer.record.digest]

    def _packed(self, directory: str, chain: str) -> tuple[Record, dict[str, Any]]:
        blob = os.path.join(self._store.ingest, f"file-{secrets.token_hex(8)}")
        try:
            found = self._hands.do({"deed": "pack", "directory": directory, "target": blob}, lambda line: None)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(blob)  # on a full disk its room is needed
            raise
        if not found["entries"]:
            os.unlink(blob)
            return Record(self._moment, chain=chain), found
        self._store.adopt(blob, found["digest"])
        return Record(self._moment, found["digest"], found["size"], found["diff_id"], chain), found
