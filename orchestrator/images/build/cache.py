"""What steps came to, by what they mean: STATE/images/build/<key>.json. A layer named there is not collected."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass

from orchestrator.images.manifest import OCI_LAYER, Descriptor
from orchestrator.images.store import Store


@dataclass(frozen=True, slots=True)
class Record:
    """`digest`, `size` and `diff_id` of the layer; "" where the step changed nothing. `created`: RFC 3339. `chain`: the
    key by which the steps after it know it, where that is another than the one it was found by."""

    created: str
    digest: str = ""
    size: int = 0
    diff_id: str = ""
    chain: str = ""

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(f"{OCI_LAYER}+gzip", self.digest, self.size)


def find(store: Store, key: str) -> Record | None:
    """What the step came to, if its layer is still whole."""
    try:
        with open(_path(store, key), encoding="utf-8") as file:
            record = Record(**json.load(file))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if record.digest and not (
        store.has(record.digest, record.size) and store.layer(record.diff_id, record.diff_id) is not None
    ):
        return None
    return record


def keep(store: Store, key: str, record: Record) -> None:
    path = _path(store, key)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    new = f"{path}.{secrets.token_hex(4)}.new"
    try:
        with open(new, "w", encoding="utf-8") as file:
            json.dump(asdict(record), file)
        os.rename(new, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)


def _path(store: Store, key: str) -> str:
    return os.path.join(store.build_cache, f"{key}.json")


__all__ = ["Record", "find", "keep"]
