"""Caches that travel: what the steps of a build came to, written into an image that others can take it from.

The configuration of such an image has a list `org.pyorch.cache`, a row a step: what it means and which of the image's
layers it made. `type=inline` writes it into the built image itself; `registry` and `local` make an image of nothing but
layers. Who builds from another machine's cache trusts it as it trusts an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.images import load
from orchestrator.images import manifest as manifests
from orchestrator.images.build import cache
from orchestrator.images.build.cache import Record
from orchestrator.images.build.result import blob
from orchestrator.images.intake import Intake
from orchestrator.images.store import Entry, Store

FIELD = "org.pyorch.cache"
_TEXTS = ("created", "digest", "diff_id", "chain")


@dataclass(frozen=True, slots=True)
class Row:
    """A step of stage number `stage`, known by `keys`."""

    stage: int
    keys: frozenset[str]
    record: Record


def written(rows: Iterable[Row]) -> dict[str, Any]:
    """For an image's configuration."""
    return {FIELD: [{"keys": sorted(row.keys), **asdict(row.record)} for row in rows]}


def image(intake: Intake, rows: list[Row], now: float) -> Entry | None:
    """An image, without a name, that carries the rows and their layers. None where no step made a layer."""
    records = list({row.record.diff_id: row.record for row in rows if row.record.digest}.values())
    if not records:
        return None
    here = manifests.here()
    document = {
        "architecture": here.architecture,
        "os": here.os,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [record.diff_id for record in records]},
        **written(rows),
    }
    return load.finish(intake, document, [blob(record, intake.store) for record in records], [""], now)


def take(store: Store, entry: Entry) -> int | None:
    """The rows that an image of the store carries become known to the cache; how many, None where it carries none.

    What is known already stays.
    """
    manifest = store.manifest(entry.manifest.digest)
    config = store.config(manifest)
    there = {(layer.digest, diff_id) for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)}
    found = config.raw.get(FIELD)
    if not isinstance(found, list):
        return None
    rows = [row for row in found if isinstance(row, dict)]
    taken = 0
    for row in rows:
        record = _record(row)
        keys = row.get("keys")
        if record is None or not isinstance(keys, list):
            continue
        if record.digest and (record.digest, record.diff_id) not in there:
            continue
        for key in keys:
            if isinstance(key, str) and _is_key(key) and cache.find(store, key) is None:
                cache.keep(store, key, record)
                taken += 1
    return taken


def _record(row: Mapping[str, Any]) -> Record | None:
    texts = {name: row.get(name, "") for name in _TEXTS}
    if not all(isinstance(value, str) for value in texts.values()) or not isinstance(row.get("size", 0), int):
        return None
    return Record(size=row.get("size", 0), **texts)


def _is_key(text: str) -> bool:
    """It becomes the name of a file."""
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
