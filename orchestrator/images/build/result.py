"""What is left of a build: the document of its image, as it came about."""

from __future__ import annotations

from typing import Any

from orchestrator.images import manifest as manifests
from orchestrator.images.build.cache import Record
from orchestrator.images.build.dockerfile import Instruction
from orchestrator.images.build.layers import Layer, Made
from orchestrator.images.build.order import Order
from orchestrator.images.manifest import Descriptor
from orchestrator.images.store import Store


def document(made: Made, order: Order, moment: str) -> dict[str, Any]:
    """The image's configuration (OCI Image Specification, config.md). `moment`: now, where nothing says when."""
    config = dict(made.state.config)
    if order.labels:
        config["Labels"] = {**(config.get("Labels") or {}), **order.labels}
    created = max((record.created for record in _records(made)), default="") or made.created
    return {
        "created": created or moment,
        "architecture": made.platform.architecture,
        "os": made.platform.os or "linux",
        **({"variant": made.platform.variant} if made.platform.variant else {}),
        **({"author": made.state.author} if made.state.author else {}),
        "config": {key: value for key, value in config.items() if value is not None},
        "rootfs": {"type": "layers", "diff_ids": [record.diff_id for record in _records(made)]},
        "history": [_row(one, created) for one in made.history],
    }


def blobs(made: Made, store: Store) -> list[Descriptor]:
    """The layers of its manifest."""
    return [blob(record, store) for record in _records(made)]


def blob(record: Record, store: Store) -> Descriptor:
    """A layer of a base image keeps the kind it came as, as far as that can be told: by how its blob begins."""
    with open(store.blob(record.digest), "rb") as file:
        head = file.read(4)
    suffix = "+gzip" if head[:2] == b"\x1f\x8b" else "+zstd" if head == b"\x28\xb5\x2f\xfd" else ""
    return Descriptor(f"{manifests.OCI_LAYER}{suffix}", record.digest, record.size)


def said(one: Instruction) -> str:
    """An instruction as people wrote it, on one line."""
    return " ".join(one.text.replace("\\\n", " ").split())


def _records(made: Made) -> list[Record]:
    return [layer.record for layer in made.layers if layer.record is not None]


def _row(one: dict[str, Any], created: str) -> dict[str, Any]:
    """Of the history. `layer` in it: what the step made, None where it is known to have made nothing."""
    layer = one.get("layer")
    kept = {"created": created, **{key: value for key, value in one.items() if key != "layer"}}
    if isinstance(layer, Layer) and layer.record is not None:
        kept["created"] = layer.record.created
    if "layer" in one and (layer is None or not layer.record.digest):
        kept["empty_layer"] = True
    return kept
