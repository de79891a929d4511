"""An image of the store into a directory: an OCI image layout (image-layout.md) that any tool reads."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
from typing import IO

from orchestrator.errors import HostRefused
from orchestrator.images import manifest as manifests
from orchestrator.images.store import Entry, Store


def write(store: Store, entry: Entry, directory: str) -> None:
    """The directory is made where it is missing; what it held before is no longer named there. Raises HostRefused."""
    manifest = store.manifest(entry.manifest.digest)
    index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": [entry.manifest.json()]}
    try:
        for blob in (manifest.config, *manifest.layers, entry.manifest):
            path = os.path.join(directory, "blobs", *blob.digest.split(":"))
            if not os.path.exists(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(store.blob(blob.digest), "rb") as source:
                    _put(path, source)
        _put(os.path.join(directory, "oci-layout"), io.BytesIO(b'{"imageLayoutVersion":"1.0.0"}'))
        _put(os.path.join(directory, "index.json"), io.BytesIO(json.dumps(index).encode()))
    except OSError as error:
        raise HostRefused(f"cannot write into {directory}: {error.strerror or error}") from error


def _put(path: str, source: IO[bytes]) -> None:
    new = f"{path}.{secrets.token_hex(4)}.new"
    with open(new, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    os.rename(new, path)
