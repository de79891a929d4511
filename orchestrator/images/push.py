"""An image of the store into a registry: what is there already is not sent again; the manifest comes last."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from orchestrator.errors import HostRefused, Missing, Unreachable
from orchestrator.images import stream
from orchestrator.images.http import Denied, Line, NotThere, Refusal
from orchestrator.images.intake import Tell
from orchestrator.images.manifest import LARGEST, Descriptor
from orchestrator.images.reference import Reference
from orchestrator.images.registry import Repository
from orchestrator.images.store import Damaged, Entry, Store


def push(store: Store, line: Line, entry: Entry, reference: Reference, tell: Tell) -> int:
    """Returns the bytes that were sent. Raises OrchestratorError "cannot push …: why"."""
    text = reference.familiar
    if not reference.tag:
        raise Refusal(f"cannot push image '{text}': name a tag to push it to")
    try:
        with store.in_use():
            return _push(store, Repository(line, reference), entry, reference.tag, tell)
    except Denied as error:
        hint = f"log in with `docker login {reference.registry}`"
        raise Denied(f"cannot push image '{text}': you may not write there; {hint}; {error}") from error
    except (NotThere, Refusal, Unreachable, Damaged, HostRefused) as error:
        raise type(error)(f"cannot push image '{text}': {error}") from error
    except FileNotFoundError as error:
        raise Missing(f"cannot push image '{text}': it is not whole in the store; pull or build it again") from error


def _push(store: Store, repository: Repository, entry: Entry, tag: str, tell: Tell) -> int:
    manifest = store.manifest(entry.manifest.digest)
    blobs = list({one.digest: one for one in (*manifest.layers, manifest.config)}.values())
    total, sent, lock = sum(blob.size for blob in blobs), [0], threading.Lock()

    def came(count: int) -> None:
        with lock:
            sent[0] += count
            tell(state="pushing", current=sent[0], total=total)

    def give(blob: Descriptor) -> int:
        if repository.has_blob(blob.digest):
            came(blob.size)
            return 0
        with open(store.blob(blob.digest), "rb") as file:
            body = _Counted(file, came)
            repository.give_blob(blob.digest, blob.size, body)
        return blob.size

    with ThreadPoolExecutor(4) as pool:
        given = sum(pool.map(give, blobs))
    repository.give_manifest(tag, store.read(entry.manifest.digest, LARGEST), entry.manifest.media_type)
    return given


class _Counted(io.RawIOBase, IO[bytes]):
    """A file on its way out; a registry verifies the digest, so a damaged blob is refused there."""

    def __init__(self, file: IO[bytes], came: object) -> None:
        self._file = file
        self._came = came

    def read(self, count: int = -1) -> bytes:
        piece = self._file.read(stream.PIECE if count < 0 else count)
        self._came(len(piece))  # type: ignore[operator]
        return piece

    def seek(self, place: int, whence: int = 0) -> int:
        self._came(-self._file.tell())  # type: ignore[operator]
        return self._file.seek(place, whence)
