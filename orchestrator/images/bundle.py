"""Images in files: an OCI layout's directory, or an archive as `docker save`, `podman save` and skopeo write it.

One class opens all of them and gives the same: named images, each a manifest, a configuration and where its layers are.
An archive of Docker's names no manifest: one is made, of its layers compressed. Read only; nothing is taken on trust.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from orchestrator.images import config as configs
from orchestrator.images import manifest as manifests
from orchestrator.images import stream
from orchestrator.images.http import Refusal
from orchestrator.images.manifest import Descriptor, Index, Manifest, Platform
from orchestrator.images.store import NAME, Store

CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Packed:
    """One image. `layers`, of Docker's archive: the members that hold them; None: blobs by digest."""

    names: tuple[str, ...]
    manifest: bytes | None
    config: bytes
    layers: tuple[str, ...] | None = None
    platform: Platform | None = None


class Bundle:
    """What a directory or an archive holds. Use as a context. Raises Refusal with the reason, OSError."""

    def __init__(self, path: str, store: Store) -> None:
        self._path = path
        self._store = store
        self._stack = contextlib.ExitStack()
        self._tar: tarfile.TarFile | None = None
        self._members: dict[str, tarfile.TarInfo] = {}

    def __enter__(self) -> Bundle:
        if not os.path.isdir(self._path):
            self._open_archive()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def images(self, platform: Platform | None = None) -> list[Packed]:
        """All images, each for one platform. An archive that is both Docker's and OCI's is read as OCI's."""
        try:
            if self._has("index.json"):
                return list(self._of_layout(platform))
            if self._has("manifest.json"):
                return list(self._of_docker())
        except ValueError as error:
            raise Refusal(f"{self._path} cannot be read: {error}") from error
        raise Refusal(f"{self._path} is neither an OCI layout (index.json) nor an archive of Docker's (manifest.json)")

    def fetch(self, blob: Descriptor) -> None:
        """A blob of a layout into the store, its digest seen to be right."""
        algorithm, _, code = blob.digest.partition(":")
        with self._file(f"blobs/{algorithm}/{code}") as source, self._new() as (path, target):
            copied = stream.Digested(source.read, algorithm)
            while piece := copied.read(1 << 18):
                target.write(piece)
            target.flush()
            if copied.digest != blob.digest or copied.count != blob.size:
                raise Refusal(f"blob {blob.digest} in {self._path} is damaged: its digest is {copied.digest}")
            self._store.adopt(path, blob.digest)

    def compress(self, member: str, diff_id: str) -> Descriptor:
        """A layer of Docker's archive into the store as a gzip blob. Raises Refusal where it is not that layer."""
        with self._file(member) as source, self._new() as (path, target):
            plain = stream.Digested(stream.Plain(source.read).read)
            digest, size = stream.gzip_into(plain.read, target)
            if plain.digest != diff_id:
                raise Refusal(f"layer {member} in {self._path} is damaged: its digest is {plain.digest}")
            self._store.adopt(path, digest)
        return Descriptor(f"{manifests.OCI_LAYER}+gzip", digest, size)

    # layouts

    def _of_layout(self, platform: Platform | None) -> Iterator[Packed]:
        index = manifests.loads(self._small("index.json", manifests.LARGEST))
        rows = [manifests.descriptor(row) for row in index.get("manifests") or ()]
        for row in rows:
            wanted = row.annotations.get(CONTAINERD_NAME) or row.annotations.get(NAME) or ""
            content = self._small_blob(row, manifests.LARGEST)
            parsed = manifests.parse(content, row.media_type)
            of = row.platform
            if isinstance(parsed, Index):
                chosen = manifests.choose(parsed.manifests, platform or manifests.here())
                content, of = self._small_blob(chosen, manifests.LARGEST), chosen.platform
                parsed = manifests.parse(content, chosen.media_type)
            if not isinstance(parsed, Manifest):
                raise ValueError("its index leads to a further index")
            config = self._small_blob(parsed.config, configs.LARGEST)
            yield Packed((wanted,) if wanted else (), content, config, None, of)

    def _small_blob(self, blob: Descriptor, most: int) -> bytes:
        algorithm, _, code = blob.digest.partition(":")
        content = self._small(f"blobs/{algorithm}/{code}", most)
        if hashlib.new(algorithm, content).hexdigest() != code:
            raise ValueError(f"blob {blob.digest} is damaged")
        return content

    # Docker's

    def _of_docker(self) -> Iterator[Packed]:
        rows = json.loads(self._small("manifest.json", manifests.LARGEST))
        if not isinstance(rows, list):
            raise ValueError("its manifest.json is no list")
        for row in rows:
            if not isinstance(row, dict) or not isinstance(row.get("Layers"), list):
                raise ValueError("its manifest.json does not name layers")
            config = self._small(str(row.get("Config")), configs.LARGEST)
            names = tuple(str(name) for name in row.get("RepoTags") or ())
            yield Packed(names, None, config, tuple(map(str, row["Layers"])))

    # files

    def _has(self, name: str) -> bool:
        return name in self._members if self._tar else os.path.isfile(os.path.join(self._path, name))

    def _small(self, name: str, most: int) -> bytes:
        with self._file(name) as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise ValueError(f"its {name} is larger than {most} bytes")
        return content

    @contextlib.contextmanager
    def _file(self, name: str) -> Iterator[IO[bytes]]:
        if self._tar is None:
            try:
                descriptor = os.open(os.path.join(self._path, name), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Refusal(f"{self._path} holds no {name}") from None
            with os.fdopen(descriptor, "rb") as file:
                yield file
            return
        member = self._members.get(os.path.normpath(name))
        for _ in range(8):  # old archives link a layer that two images share
            if member is not None and member.issym():
                member = self._members.get(
                    os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname))
                )
            elif member is not None and member.islnk():
                member = self._members.get(os.path.normpath(member.linkname))
        found = self._tar.extractfile(member) if member is not None and member.isreg() else None
        if found is None:
            raise Refusal(f"{self._path} holds no {name}")
        with found:
            yield found

    def _open_archive(self) -> None:
        """Members are read in any order: an archive that is compressed as a whole is first unpacked."""
        file: IO[bytes] = self._stack.enter_context(open(self._path, "rb"))  # noqa: SIM115
        if file.read(4)[:2] in (b"\x1f\x8b", b"\x28\xb5"):
            file.seek(0)
            path, plain = self._stack.enter_context(self._new())
            reader = stream.Plain(file.read)
            try:
                while piece := reader.read(1 << 20):
                    plain.write(piece)
            except ValueError as error:
                raise Refusal(f"{self._path} cannot be read: {error}") from error
            plain.flush()
            file = self._stack.enter_context(open(path, "rb"))  # noqa: SIM115
        file.seek(0)
        try:
            self._tar = self._stack.enter_context(tarfile.open(fileobj=file, mode="r:"))  # noqa: SIM115
            self._members = {os.path.normpath(member.name): member for member in self._tar.getmembers()}
        except tarfile.TarError as error:
            raise Refusal(f"{self._path} is no tar archive: {error}") from error

    @contextlib.contextmanager
    def _new(self) -> Iterator[tuple[str, IO[bytes]]]:
        """A file in ingest/, gone afterwards unless it was renamed."""
        path = os.path.join(self._store.ingest, f"file-{secrets.token_hex(8)}")
        try:
            with open(path, "wb") as file:
                yield path, file
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def made_manifest(config: Descriptor, layers: list[Descriptor]) -> bytes:
    """An OCI manifest of these parts."""
    value: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_MANIFEST,
        "config": config.json(),
        "layers": [layer.json() for layer in layers],
    }
    return json.dumps(value, separators=(",", ":")).encode()
