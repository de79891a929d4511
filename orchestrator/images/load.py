"""Images out of files into the store, and back: load, save, import."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import IO, Any

from orchestrator.errors import HostRefused, Mistake
from orchestrator.images import config as configs
from orchestrator.images import manifest as manifests
from orchestrator.images import reference as references
from orchestrator.images import source, stream
from orchestrator.images.bundle import Bundle, Packed, made_manifest
from orchestrator.images.explaining import explained
from orchestrator.images.http import Refusal
from orchestrator.images.intake import Intake, Tell
from orchestrator.images.manifest import Descriptor, Manifest, Platform
from orchestrator.images.store import NAME, Damaged, Entry, Store


def take(intake: Intake, reference: str, platform: str | None, now: float, tell: Tell) -> Entry:
    """The image of a transport's reference (`oci:/dir:tag` …), in the store under that very reference.

    Layers that the store has are not read again. Raises OrchestratorError "cannot use image …: why".
    """
    files = source.files(reference)
    assert files is not None, "a registry's image is pulled"
    with explained(f"cannot use image '{reference}'", f"there is no {files.path}"):
        wanted = manifests.platform(platform) if platform else None
        with intake.store.in_use(), Bundle(files.path, intake.store) as bundle:
            packed = _one(bundle.images(wanted), files)
            tell(state="unpacking")
            return _keep(intake, bundle, packed, [reference], now, tell)


def load(intake: Intake, path: str, now: float, tell: Tell) -> list[Entry]:
    """Every image in a file or directory, under the names it has there. Raises OrchestratorError "cannot load …"."""
    with (
        explained(f"cannot load {path}", "there is no such file"),
        intake.store.in_use(),
        Bundle(path, intake.store) as bundle,
    ):
        return [
            _keep(intake, bundle, packed, [_complete(name) for name in packed.names] or [""], now, tell)
            for packed in bundle.images()
        ]


def save(store: Store, images: Sequence[tuple[Entry, str]], path: str) -> None:
    """One tar that is an archive of Docker's and of OCI's at once: (row, the name it is to have), as many as given.

    Raises Damaged, where a blob is not whole; HostRefused.
    """
    new = f"{path}.{secrets.token_hex(4)}.new"
    try:
        with open(new, "wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
            _save(store, images, tar)
        os.rename(new, path)
    except OSError as error:
        raise HostRefused(f"cannot save into {path}: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(new)


def import_tar(intake: Intake, path: str, name: str, changes: Sequence[str], comment: str, now: float) -> Entry:
    """A root file system in a tar becomes an image of one layer. `changes`: instructions of a Dockerfile.

    Raises OrchestratorError "cannot import …".
    """
    store = intake.store
    with explained(f"cannot import {path}", "there is no such file", Mistake), store.in_use():
        layer, diff_id = _pack(store, path)
        here = manifests.here()
        document = {
            "architecture": here.architecture,
            "os": here.os,
            "config": _changed(changes),
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created_by": f"import {os.path.basename(path)}", "comment": comment}],
        }
        return finish(intake, document, [layer], [_complete(name) if name else ""], now)


def _changed(changes: Sequence[str]) -> dict[str, Any]:
    """The configuration that instructions make of an empty one. Raises ValueError."""
    from orchestrator.images.build import dockerfile, instructions, state

    known = state.State()
    for text in changes:
        (one,) = dockerfile.parse(f"FROM scratch\n{text}").instructions[1:]
        known, step = instructions.apply(one, known, state.Given())
        if step is not None and one.keyword != "WORKDIR":
            raise ValueError(f"{one.keyword} cannot be a change: it is about files")
    return {key: value for key, value in known.config.items() if value is not None}


def finish(
    intake: Intake, document: dict[str, Any], layers: list[Descriptor], names: Sequence[str], now: float
) -> Entry:
    """An image made here: its configuration and layers (blobs that are in the store) become a manifest with a name."""
    store = intake.store
    content = json.dumps(document, separators=(",", ":")).encode()
    config = Descriptor(manifests.OCI_CONFIG, store.put(content), len(content))
    body = made_manifest(config, layers)
    parsed = configs.parse(content)
    intake.layers(Manifest(config, tuple(layers)), parsed, _gone, _silent)
    return _name(store, body, parsed.platform, names, now)


def _gone(blob: Descriptor) -> None:
    raise HostRefused(f"blob {blob.digest} was removed from the store meanwhile")


def _silent(**_: object) -> None:
    return None


def _one(found: list[Packed], files: source.Files) -> Packed:
    if not files.tag and len(found) == 1:
        return found[0]
    for packed in found:
        for name in packed.names:
            if files.tag in (name, name.rpartition(":")[2]) or (files.tag and _same_name(name, files.tag)):
                return packed
    there = ", ".join(name for packed in found for name in packed.names) or "images without a name"
    wanted = f"no image {files.tag!r}" if files.tag else "several images"
    raise Refusal(f"{files.path} holds {wanted}; there are: {there}")


def _same_name(one: str, other: str) -> bool:
    try:
        return references.parse(one) == references.parse(other)
    except ValueError:
        return False


def _keep(intake: Intake, bundle: Bundle, packed: Packed, names: Sequence[str], now: float, tell: Tell) -> Entry:
    store = intake.store
    config = configs.parse(packed.config)
    digest = "sha256:" + hashlib.sha256(packed.config).hexdigest()
    if packed.manifest is not None:
        body = packed.manifest
        manifest = manifests.parse(body)
        assert isinstance(manifest, Manifest)
        digest = manifest.config.digest
    else:
        known = _already(store, digest, names)
        body = known or made_manifest(
            Descriptor(manifests.OCI_CONFIG, digest, len(packed.config)), _compressed(bundle, packed, config)
        )
        manifest = manifests.parse(body)
        assert isinstance(manifest, Manifest)
    if len(manifest.layers) != len(config.diff_ids):
        raise Refusal(f"its configuration names {len(config.diff_ids)} layers and its manifest {len(manifest.layers)}")
    if not store.has(digest, len(packed.config)):
        store.put(packed.config)
    intake.layers(manifest, config, bundle.fetch, tell)
    return _name(store, body, packed.platform or config.platform, names, now)


def _already(store: Store, config: str, names: Sequence[str]) -> bytes | None:
    """The manifest made of the same image before: it is not compressed again."""
    for entry in store.entries():
        if entry.name in names:
            try:
                content = store.read(entry.manifest.digest, manifests.LARGEST)
            except (Damaged, FileNotFoundError):
                continue
            parsed = manifests.parse(content)
            whole = isinstance(parsed, Manifest) and all(store.has(one.digest, one.size) for one in parsed.layers)
            if isinstance(parsed, Manifest) and parsed.config.digest == config and whole:
                return content
    return None


def _compressed(bundle: Bundle, packed: Packed, config: configs.Config) -> list[Descriptor]:
    layers = packed.layers or ()
    if len(layers) != len(config.diff_ids):
        raise Refusal(f"its configuration names {len(config.diff_ids)} layers and its manifest.json {len(layers)}")
    return [bundle.compress(member, diff_id) for member, diff_id in zip(layers, config.diff_ids, strict=True)]


def _name(store: Store, body: bytes, platform: Platform, names: Sequence[str], now: float) -> Entry:
    digest = store.put(body)
    kind = manifests.loads(body).get("mediaType") or manifests.OCI_MANIFEST
    if not platform.architecture:
        platform = manifests.here()
    descriptor = Descriptor(str(kind), digest, len(body), replace(platform, os=platform.os or "linux"))
    entries = [Entry(name, descriptor, "", now) for name in names]
    for entry in entries:
        store.name(entry)
    return entries[0]


def _pack(store: Store, path: str) -> tuple[Descriptor, str]:
    """A tar as a layer's blob: as it is where it is compressed already."""
    new = os.path.join(store.ingest, f"file-{secrets.token_hex(8)}")
    try:
        with open(path, "rb") as file, open(new, "wb") as target:
            plain = stream.Digested(stream.Plain(file.read).read)
            digest, size = stream.gzip_into(plain.read, target)
        store.adopt(new, digest)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(new)
    return Descriptor(f"{manifests.OCI_LAYER}+gzip", digest, size), plain.digest


def _complete(name: str) -> str:
    """A name of an archive; a bare tag, as layouts have them, is no image's name."""
    if "/" not in name and ":" not in name:
        return ""
    try:
        return str(references.parse(name))
    except ValueError as error:
        raise Refusal(f"it names an image {name!r}: {error}") from error


def _save(store: Store, images: Sequence[tuple[Entry, str]], tar: tarfile.TarFile) -> None:
    rows, docker, written = [], [], set()
    for entry, name in images:
        manifest = store.manifest(entry.manifest.digest)
        for blob in (entry.manifest, manifest.config, *manifest.layers):
            if blob.digest not in written:
                written.add(blob.digest)
                _add_blob(store, blob, tar)
        notes = {NAME: name, "io.containerd.image.name": name} if name else {}
        rows.append(replace(entry.manifest, annotations=notes).json())
        docker.append(
            {
                "Config": _member(manifest.config),
                "RepoTags": [references.parse(name).familiar] if name and "@" not in name else None,
                "Layers": [_member(layer) for layer in manifest.layers],
            }
        )
    index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": rows}
    _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    _add(tar, "index.json", json.dumps(index).encode())
    _add(tar, "manifest.json", json.dumps(docker).encode())


def _member(blob: Descriptor) -> str:
    return f"blobs/{blob.digest.replace(':', '/')}"


def _add_blob(store: Store, blob: Descriptor, tar: tarfile.TarFile) -> None:
    """Read once more, and seen to be whole, on its way out."""
    try:
        with open(store.blob(blob.digest), "rb") as file:
            read = stream.Digested(file.read)
            info = tarfile.TarInfo(_member(blob))
            info.size = blob.size
            tar.addfile(info, _Through(read))
    except FileNotFoundError:
        raise Damaged(f"cannot save: blob {blob.digest} is gone from the store; pull the image again") from None
    if read.digest != blob.digest:
        store.drop_blob(blob.digest)
        raise Damaged(f"cannot save: blob {blob.digest} in the store is damaged; pull the image again")


class _Through(io.RawIOBase, IO[bytes]):
    def __init__(self, read: stream.Digested) -> None:
        self._from = read

    def read(self, count: int = -1) -> bytes:
        return self._from.read(count)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
