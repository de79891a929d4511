"""The store of images: STATE/images, an OCI image layout (image-layout.md) with the unpacked layers beside it.

    oci-layout, index.json      standard: any tool that reads a layout reads this one; the names are in its annotations
    blobs/sha256/<hex>          manifests, configurations, layers as they came. Whole and verified, or not there
    layers/<16 hex>             a layer unpacked, for overlayfs; layers/<16 hex>.json says what of it is true
    ingest/                     what is on its way: downloads that go on where they stopped, layers half unpacked

Everything is written in ingest/ and renamed. What has its name is whole, so a kill at any moment leaves nothing to
repair. Several processes may work here: they hold `in_use` while something is on its way, a collection waits for none.

A name points to the manifest of one platform; under another platform the same name may point to another manifest. What
the registry answered for the name (often an index) is kept beside it as the "repository digest".
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.errors import HostRefused, OrchestratorError
from orchestrator.images import config as configs
from orchestrator.images import manifest as manifests
from orchestrator.images.config import Config
from orchestrator.images.manifest import Descriptor, Manifest, Platform

NAME = "org.opencontainers.image.ref.name"
REPOSITORY_DIGEST = "org.pyorch.repository-digest"
PULLED = "org.pyorch.pulled"  # seconds since the epoch, when a registry last said so
VERIFIED = (1, 1)  # atime and mtime, seconds: of a blob whose content was seen to be what its name says


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of index.json: a manifest, and under which complete name it goes ("" where none does any more)."""

    name: str
    manifest: Descriptor
    repository_digest: str = ""
    pulled: float = 0.0

    @property
    def platform(self) -> Platform | None:
        return self.manifest.platform


class Damaged(OrchestratorError):
    """A blob in the store is not what its name says; it has been put aside and can be fetched again."""


class Store:
    """`directory` is made where it is not there yet. Raises HostRefused where it cannot be."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.ingest = os.path.join(directory, "ingest")
        self.layers = os.path.join(directory, "layers")
        self.build_cache = os.path.join(directory, "build")  # see build/cache.py
        self.build_caches = os.path.join(directory, "caches")  # what steps keep: RUN --mount=type=cache
        self.blobs = os.path.join(directory, "blobs")

    def make(self) -> None:
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            for part in (self.ingest, self.layers, os.path.join(self.blobs, "sha256")):
                os.makedirs(part, mode=0o700, exist_ok=True)
            layout = os.path.join(self.directory, "oci-layout")
            if not os.path.exists(layout):
                self._write(layout, b'{"imageLayoutVersion":"1.0.0"}')
            if not os.path.exists(os.path.join(self.directory, "index.json")):
                with self._alone():
                    if not os.path.exists(os.path.join(self.directory, "index.json")):
                        self._put([])
        except OSError as error:
            raise HostRefused(f"cannot use the image store {self.directory}: {error.strerror}") from error

    def tidy(self) -> None:
        """What killed processes have left half made goes, unless somebody works here; downloads stay, to go on."""
        with contextlib.ExitStack() as stack:
            if not stack.enter_context(self.unused()):
                return
            for entry in os.scandir(self.ingest):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                elif not entry.name.endswith(".part"):
                    os.unlink(entry.path)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While something is on its way here, nothing is collected."""
        self.make()
        with self._locked("use.lock", fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def unused(self) -> Iterator[bool]:
        """Whether nothing is on its way here; where so, nothing begins meanwhile."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._locked("use.lock", fcntl.LOCK_EX | fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True

    # names

    def entries(self) -> list[Entry]:
        """Raises Damaged where index.json is broken."""
        try:
            with open(os.path.join(self.directory, "index.json"), "rb") as file:
                index = manifests.loads(file.read())
            rows = [manifests.descriptor(row) for row in index.get("manifests") or ()]
        except FileNotFoundError:
            return []
        except ValueError as error:
            where = os.path.join(self.directory, "index.json")
            raise Damaged(f"cannot read the image store: {where}: {error}; remove it and pull again") from error
        return [_entry(row) for row in rows]

    def find(self, name: str, platform: Platform | None = None) -> Entry | None:
        """The manifest under a complete name, for a platform, by default this machine's (else any the name has)."""
        found = [entry for entry in self.entries() if entry.name == name]
        wanted = platform or manifests.here()
        ranked = [
            (rank, entry)
            for entry in found
            if entry.platform and (rank := manifests.suits(entry.platform, wanted)) is not None
        ]
        if ranked:
            return min(ranked, key=lambda pair: pair[0])[1]
        return found[-1] if found and platform is None else None

    def by_digest(self, digest: str) -> Entry | None:
        return next((entry for entry in self.entries() if entry.manifest.digest == digest), None)

    def name(self, entry: Entry) -> None:
        """The name points there from now on. A manifest that loses its name stays, nameless, until it is collected."""
        with self._alone():
            rows = self.entries()
            kept = [row for row in rows if (row.name, row.platform) != (entry.name, entry.platform) or not row.name]
            lost = [replace(row, name="") for row in rows if row not in kept]
            known = {row.manifest.digest for row in [*kept, entry]}
            self._put([*kept, *(row for row in lost if row.manifest.digest not in known), entry])

    def forget(self, gone: list[Entry], keep_nameless: bool = False) -> None:
        """Take rows out; `keep_nameless`: their manifests stay as nameless rows (something still runs from them)."""
        with self._alone():
            kept = [row for row in self.entries() if row not in gone]
            known = {row.manifest.digest for row in kept}
            nameless = {row.manifest.digest: replace(row, name="") for row in gone if row.manifest.digest not in known}
            self._put([*kept, *(nameless.values() if keep_nameless else ())])

    # blobs

    def blob(self, digest: str) -> str:
        """Where the blob is, or will be."""
        algorithm, _, code = digest.partition(":")
        return os.path.join(self.blobs, algorithm, code)

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is here, whole. One that was written to since it was verified is read again to see."""
        try:
            known = os.stat(self.blob(digest))
        except FileNotFoundError:
            return False
        if size is not None and known.st_size != size:
            self._drop_blob(digest)
            return False
        if known.st_mtime == VERIFIED[1]:
            return True
        return self._verify(digest)

    def read(self, digest: str, most: int) -> bytes:
        """A small blob, verified. Raises Damaged; FileNotFoundError where it is not here."""
        with open(self.blob(digest), "rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise Damaged(f"cannot use blob {digest}: it is larger than {most} bytes")
        algorithm, _, code = digest.partition(":")
        if hashlib.new(algorithm, content).hexdigest() != code:
            self._drop_blob(digest)
            raise Damaged(f"cannot use blob {digest}: its content is damaged; pull the image again")
        return content

    def put(self, content: bytes) -> str:
        """Keep a small blob; returns its digest."""
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        if not self.has(digest, len(content)):
            self._write(self.blob(digest), content)
            os.utime(self.blob(digest), VERIFIED)
        return digest

    def adopt(self, path: str, digest: str) -> None:
        """A file whose content was seen to have this digest becomes the blob."""
        os.chmod(path, 0o600)
        os.makedirs(os.path.dirname(self.blob(digest)), mode=0o700, exist_ok=True)
        os.utime(path, VERIFIED)
        os.rename(path, self.blob(digest))

    def _verify(self, digest: str) -> bool:
        algorithm, _, code = digest.partition(":")
        with open(self.blob(digest), "rb") as file:
            whole = hashlib.file_digest(file, algorithm).hexdigest() == code
        if whole:
            os.utime(self.blob(digest), VERIFIED)
        else:
            self._drop_blob(digest)
        return whole

    def _drop_blob(self, digest: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.blob(digest))

    drop_blob = _drop_blob

    # images

    def manifest(self, digest: str) -> Manifest:
        """Raises Damaged, FileNotFoundError."""
        try:
            parsed = manifests.parse(self.read(digest, manifests.LARGEST))
        except ValueError as error:
            raise Damaged(f"cannot use manifest {digest}: {error}") from error
        if not isinstance(parsed, Manifest):
            raise Damaged(f"cannot use manifest {digest}: it is an index")
        return parsed

    def config(self, manifest: Manifest) -> Config:
        """Raises Damaged, FileNotFoundError."""
        return self.config_of(manifest.config.digest, len(manifest.layers))

    def config_of(self, digest: str, layers: int) -> Config:
        """The configuration of an image with so many layers. Raises Damaged, FileNotFoundError."""
        try:
            parsed = configs.parse(self.read(digest, configs.LARGEST))
        except ValueError as error:
            raise Damaged(f"cannot use image configuration {digest}: {error}") from error
        if len(parsed.diff_ids) != layers:
            why = f"it names {len(parsed.diff_ids)} layers, its manifest {layers}"
            raise Damaged(f"cannot use image configuration {digest}: {why}")
        return parsed

    # unpacked layers

    def layer(self, diff_id: str, chain_id: str) -> str | None:
        """The directory of an unpacked layer: for any image, or for those with these very layers below it."""
        return next((path for key in (diff_id, chain_id) if self._stands(path := self.layer_path(key), key)), None)

    def layer_path(self, key: str) -> str:
        """Short, because overlayfs takes all layers of a root in one page of text."""
        return os.path.join(self.layers, key.partition(":")[2][:16])

    def keep_layer(self, directory: str, key: str, notes: dict[str, Any]) -> str:
        """A directory from ingest/ becomes the layer. Its notes come last: without them it is not there.

        `boot`: until `settled`, the layer is only believed by this boot, for its files may not be on the disk yet.
        """
        path = self.layer_path(key)
        with self._alone():
            if self._stands(path, key):  # somebody else was faster, and something may run from it already
                shutil.rmtree(directory)
                return path
            if os.path.lexists(path):
                shutil.rmtree(path)
            os.rename(directory, path)
            self._write(f"{path}.json", json.dumps({"key": key, "boot": boot(), **notes}).encode(), sync=False)
        return path

    def empty(self) -> str:
        """A layer with nothing in it, for an image without any (FROM scratch)."""
        path = os.path.join(self.layers, "empty")
        os.makedirs(path, mode=0o755, exist_ok=True)
        return path

    def notes(self, path: str) -> dict[str, Any]:
        """What is noted of an unpacked layer: "size" (bytes on the disk), "entries", "key"; {} where it is none."""
        try:
            with open(f"{path}.json", "rb") as file:
                found: dict[str, Any] = json.loads(file.read())
                return found
        except (FileNotFoundError, ValueError):
            return {}

    def settled(self) -> None:
        """Everything is on the disk now: what was unpacked is believed over a crash of the machine."""
        for path in self.layer_paths():
            notes = self.notes(path)
            if notes.get("boot") == boot():
                self._write(f"{path}.json", json.dumps({**notes, "boot": None}).encode(), sync=False)

    def _stands(self, path: str, key: str) -> bool:
        notes = self.notes(path)
        return notes.get("key") == key and notes.get("boot") in (None, boot()) and os.path.isdir(path)

    def layer_paths(self) -> list[str]:
        """The directories of all layers."""
        try:
            aside = (".json", ".new", "empty")
            return [entry.path for entry in os.scandir(self.layers) if not entry.name.endswith(aside)]
        except FileNotFoundError:
            return []

    # files

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._locked("index.lock", fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, how: int) -> Iterator[None]:
        lock = os.open(os.path.join(self.directory, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, how)
            yield
        finally:
            os.close(lock)

    def _put(self, entries: list[Entry]) -> None:
        index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": [_row(one) for one in entries]}
        self._write(os.path.join(self.directory, "index.json"), json.dumps(index, indent=1).encode())

    def _write(self, path: str, content: bytes, sync: bool = True) -> None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        new = f"{path}.{secrets.token_hex(4)}.new"
        try:
            with open(new, "wb") as file:
                file.write(content)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            os.rename(new, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)
            raise


def boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _entry(row: Descriptor) -> Entry:
    notes = row.annotations
    try:
        pulled = float(notes.get(PULLED) or 0)
    except ValueError:
        pulled = 0.0
    plain = replace(row, annotations={})
    return Entry(notes.get(NAME, ""), plain, notes.get(REPOSITORY_DIGEST, ""), pulled)


def _row(entry: Entry) -> dict[str, Any]:
    notes = {NAME: entry.name, REPOSITORY_DIGEST: entry.repository_digest, PULLED: f"{entry.pulled:.0f}"}
    kept = {key: value for key, value in notes.items() if value and value != "0"}
    return replace(entry.manifest, annotations=kept).json()
