"""What of the store nothing needs any more, and what the disk holds for whom.

An image needs its manifest, configuration and layers; the build cache the layers of its steps. What `image prune` and
`system df` say is counted here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil

from orchestrator.images import config as configs
from orchestrator.images.store import Damaged, Entry, Store


def collect(store: Store) -> int:
    """Remove what no row of index.json needs, and what is left of dead downloads. Returns bytes given back.

    Nothing is done while something is on its way here (a pull, a build): the next collection does it.
    """
    with store.unused() as unused:
        if not unused:
            return 0
        blobs, layers = needed(store)
        given = 0
        # Where a manifest cannot be read, nobody knows which layers it needs, and a container may run from them.
        for path in store.layer_paths() if all(_is_known(store, entry) for entry in store.entries()) else ():
            if path not in layers:
                given += int(store.notes(path).get("size") or 0)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{path}.json")  # first: without its notes it is no layer
                shutil.rmtree(path)
        for algorithm in os.listdir(store.blobs) if os.path.isdir(store.blobs) else ():
            for entry in os.scandir(os.path.join(store.blobs, algorithm)):
                if f"{algorithm}:{entry.name}" not in blobs:
                    given += entry.stat().st_blocks * 512
                    os.unlink(entry.path)
        for directory in (store.directory, store.layers):
            for entry in os.scandir(directory):
                if entry.name.endswith(".new"):  # whoever wrote it was killed
                    os.unlink(entry.path)
        for entry in os.scandir(store.ingest) if os.path.isdir(store.ingest) else ():
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                given += entry.stat().st_blocks * 512
                os.unlink(entry.path)
        return given


def needed(store: Store, entries: list[Entry] | None = None) -> tuple[set[str], set[str]]:
    """(digests of blobs, directories of layers) that these rows of index.json need; by default all of them."""
    blobs: set[str] = set()
    layers: set[str] = set()
    for entry in store.entries() if entries is None else entries:
        blobs.add(entry.manifest.digest)
        try:
            manifest = store.manifest(entry.manifest.digest)
            blobs |= {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
            ids = store.config(manifest).diff_ids
        except (FileNotFoundError, Damaged):
            continue  # what it needs is not known
        layers |= {store.layer_path(key) for key in (*ids, *configs.chain(ids))}
    for digest, diff_id in built(store) if entries is None else ():
        blobs.add(digest)
        layers.add(store.layer_path(diff_id))
    return blobs, layers


def _is_known(store: Store, entry: Entry) -> bool:
    try:
        store.config(store.manifest(entry.manifest.digest))
    except (FileNotFoundError, Damaged):
        return False
    return True


def built(store: Store) -> list[tuple[str, str]]:
    """(digest of the blob, diff id) of each layer that the build cache has."""
    found = []
    for entry in os.scandir(store.build_cache) if os.path.isdir(store.build_cache) else ():
        try:
            with open(entry.path, encoding="utf-8") as file:
                record = json.load(file)
            if record["digest"]:
                found.append((record["digest"], record["diff_id"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
    return found


def forget_built(store: Store) -> int:
    """The build cache is empty afterwards; its layers are collected where no image has them. What `RUN
    --mount=type=cache` has kept goes too. Returns bytes given back, unless somebody works here: then it stays."""
    with store.unused() as unused:
        if not unused:
            return 0
        given = disk_of(store.build_caches)
        for directory in (store.build_cache, store.build_caches):
            if os.path.isdir(directory):
                shutil.rmtree(directory)
        return given


def cached(store: Store) -> tuple[int, int]:
    """(steps in the build cache, bytes on the disk that only it needs)."""
    count = len(os.listdir(store.build_cache)) if os.path.isdir(store.build_cache) else 0
    kept = disk_of(store.build_caches) + disk_of(store.build_cache)
    return count, taken(store, *needed(store)) - taken(store, *needed(store, store.entries())) + kept


def of_images(store: Store) -> int:
    """Bytes on the disk that are not the build cache's: what images need, and what nothing needs any more."""
    return taken(store) - taken(store, *needed(store)) + taken(store, *needed(store, store.entries()))


def taken(store: Store, blobs: set[str] | None = None, layers: set[str] | None = None) -> int:
    """Bytes that these blobs and layers take on the disk; by default everything that is here."""
    total = 0
    for algorithm in os.listdir(store.blobs) if os.path.isdir(store.blobs) else ():
        for entry in os.scandir(os.path.join(store.blobs, algorithm)):
            if blobs is None or f"{algorithm}:{entry.name}" in blobs:
                total += entry.stat().st_blocks * 512
    for path in store.layer_paths():
        if layers is None or path in layers:
            total += int(store.notes(path).get("size") or 0)
    if blobs is None and os.path.isdir(store.ingest):
        total += sum(entry.stat().st_blocks * 512 for entry in os.scandir(store.ingest) if entry.is_file())
    return total


def disk_of(directory: str) -> int:
    """Bytes that a tree takes on the disk, 0 where there is none; a file of several names counts once, and
    what vanishes meanwhile not at all."""
    total, seen = 0, set()
    for where, _, files in os.walk(directory):
        for path in (where, *(os.path.join(where, name) for name in files)):
            try:
                known = os.lstat(path)
            except FileNotFoundError:
                continue
            if known.st_nlink == 1 or known.st_ino not in seen:
                seen.add(known.st_ino)
                total += known.st_blocks * 512
    return total
