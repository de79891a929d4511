"""An image's layers into the store: fetched side by side, unpacked side by side, each once, whoever asks for it.

What fetches a blob is an argument: a registry, a layout, an archive. Unpacking checks digests again on the way: a blob
that was damaged in the store is named, dropped and fetched once more.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from orchestrator.errors import HostRefused
from orchestrator.images import config as configs
from orchestrator.images.config import Config
from orchestrator.images.http import Refusal
from orchestrator.images.manifest import Descriptor, Manifest
from orchestrator.images.settings import Settings
from orchestrator.images.store import Store
from orchestrator.images.unpackers import Deeds, Unpackers

Tell = Callable[..., None]  # tell(state=…, current=…, total=…, why=…)
Fetch = Callable[[Descriptor], None]  # the blob is in the store afterwards


class Intake:
    """For one process, which pulls any number of images at a time."""

    def __init__(self, store: Store, settings: Settings, deeds: Deeds | None = None) -> None:
        self.store = store
        self.settings = settings
        processors = len(os.sched_getaffinity(0))
        self.hands = Unpackers(processors if deeds is None else processors + 2, deeds)  # forks: before any thread
        self._downloads = ThreadPoolExecutor(settings.downloads, "download")
        self._unpacks = ThreadPoolExecutor(processors, "unpack")
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Any]] = {}

    def close(self) -> None:
        self._downloads.shutdown(cancel_futures=True)
        self._unpacks.shutdown(cancel_futures=True)
        self.hands.close()

    def blobs(self, wanted: list[Descriptor], fetch: Fetch) -> None:
        """Small ones, before anything can begin: manifests and configurations."""
        for future in [self._once(f"blob {one.digest}", self._downloads, self._blob, one, fetch) for one in wanted]:
            future.result()

    def layers(self, manifest: Manifest, config: Config, fetch: Fetch, tell: Tell) -> list[str]:
        """The directories of all layers, the lowest first. Raises what `fetch` raises; Refusal, HostRefused."""
        rows = list(zip(manifest.layers, config.diff_ids, configs.chain(config.diff_ids), strict=True))
        begun = [
            self._once(
                f"layer {chain_id} {layer.digest}", self._downloads, self._layer, layer, diff_id, chain_id, fetch
            )
            for layer, diff_id, chain_id in rows
        ]
        made: list[str] = []
        for (layer, diff_id, chain_id), future in zip(rows, begun, strict=True):
            unpacking = future.result()
            if unpacking is not None:
                tell(state="unpacking")
            result = unpacking.result() if unpacking is not None else None
            standing = self.store.layer(diff_id, chain_id)
            if standing is None:
                if not result:
                    raise HostRefused(f"layer {layer.digest} was removed from the store meanwhile")
                standing = self._keep(result, diff_id, chain_id, made)
            made.append(standing)
        return made

    def _blob(self, blob: Descriptor, fetch: Fetch) -> None:
        if not self.store.has(blob.digest, blob.size):
            fetch(blob)

    def _layer(self, layer: Descriptor, diff_id: str, chain_id: str, fetch: Fetch) -> Future[dict[str, Any]] | None:
        """The blob is there; its unpacking has begun, where that is still to be done."""
        self._blob(layer, fetch)
        if self.store.layer(diff_id, chain_id) is not None:
            return None
        return self._unpacks.submit(self._unpack, layer, diff_id, fetch)

    def _unpack(self, layer: Descriptor, diff_id: str, fetch: Fetch, again: bool = True) -> dict[str, Any]:
        directory = os.path.join(self.store.ingest, f"layer-{secrets.token_hex(8)}")
        try:
            found = self.hands.unpack(
                self.store.blob(layer.digest), directory, layer.digest, diff_id, self.settings.limits
            )
        except BaseException as error:
            shutil.rmtree(directory, ignore_errors=True)
            if isinstance(error, ValueError) and str(error).startswith("damaged") and again:
                self.store.drop_blob(layer.digest)
                fetch(layer)
                return self._unpack(layer, diff_id, fetch, again=False)
            if isinstance(error, ValueError):
                raise Refusal(f"its layer {layer.digest} is refused: {error}") from error
            raise
        return {**found, "directory": directory}

    def _keep(self, found: dict[str, Any], diff_id: str, chain_id: str, below: list[str]) -> str:
        """Its own by its own content; where it took something from the layers below, theirs."""
        key = diff_id
        if below and (found["implied"] or found["foreign"]):
            key = chain_id
            try:
                self.hands.complete(found["directory"], found, below[::-1])
            except ValueError as error:
                shutil.rmtree(found["directory"], ignore_errors=True)
                raise Refusal(f"its layer {diff_id} is refused: {error}") from error
        elif found["foreign"]:
            shutil.rmtree(found["directory"], ignore_errors=True)
            path, target = found["foreign"][0]
            raise Refusal(f"its layer {diff_id} is refused: the hard link {path!r} names {target!r}, which is nowhere")
        notes = {name: found[name] for name in ("size", "entries", "data")}
        return self.store.keep_layer(found["directory"], key, notes)

    def _once(self, key: str, pool: ThreadPoolExecutor, deed: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Layers that several images share are on their way once."""
        with self._lock:
            if key not in self._under_way:
                self._under_way[key] = pool.submit(deed, *arguments)
            return self._under_way[key]
