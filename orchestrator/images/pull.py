"""From a registry into the store: manifest, platform, configuration, layers; the name comes last."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from orchestrator.errors import HostRefused, Missing, Mistake, Unreachable
from orchestrator.images import config as configs
from orchestrator.images import manifest as manifests
from orchestrator.images import reference as references
from orchestrator.images.download import download
from orchestrator.images.explaining import explained
from orchestrator.images.http import Denied, Line, NotThere, Refusal
from orchestrator.images.intake import Intake, Tell
from orchestrator.images.manifest import Descriptor, Index, Manifest, Platform
from orchestrator.images.reference import Reference
from orchestrator.images.registry import Document, Repository
from orchestrator.images.store import Entry

ROOM = 64 << 20  # bytes that stay free


@dataclass(frozen=True, slots=True)
class Want:
    """`reference` as it was written; `digest`: this very content (of an index or a manifest), whatever the tag says."""

    reference: str
    platform: str | None = None
    digest: str | None = None


def pull(intake: Intake, line: Line, want: Want, now: float, tell: Tell) -> Entry:
    """The image is in the store under its complete name. Raises OrchestratorError "cannot pull …: why"."""
    reference = _parsed_reference(want.reference)
    with _explained(want.reference, reference):
        platform = manifests.platform(want.platform) if want.platform else None
        with intake.store.in_use():
            return _Pull(intake, line, reference, want, platform, tell).run(now)


def digest_of(line: Line, written: str) -> str:
    """What a name stands for in its registry now: the digest of an index or a manifest. Raises as `pull`."""
    reference = _parsed_reference(written)
    if reference.digest:
        return reference.digest
    with _explained(written, reference):
        return Repository(line, reference).digest(reference.tag or "latest")


def _parsed_reference(written: str) -> Reference:
    try:
        return references.parse(written)
    except ValueError as error:
        raise Mistake(f"cannot pull image '{written}': {error}") from error


@contextlib.contextmanager
def _explained(written: str, reference: Reference) -> Iterator[None]:
    """Whatever goes wrong becomes the sentence for the one who asked for this image."""
    cannot = f"cannot pull image '{written}'"
    try:
        with explained(cannot):
            yield
    except NotThere as error:
        raise Missing(f"{cannot}: there is no such image in {reference.registry}: {error}") from error
    except Denied as error:
        registry = "" if reference.registry == references.HUB else f" {reference.registry}"
        hint = f"there is no such image, or it is not for everybody: log in with `docker login{registry}`"
        raise Denied(f"{cannot}: {hint}; {error}") from error
    except Unreachable as error:
        raise Unreachable(f"{cannot}: {error}{_plain_hint(reference, str(error))}") from error


class _Pull:
    """One image on its way."""

    def __init__(
        self, intake: Intake, line: Line, reference: Reference, want: Want, platform: Platform | None, tell: Tell
    ) -> None:
        self._intake = intake
        self._store = intake.store
        self._caller = line.caller
        self._repository = Repository(line, reference)
        self._reference = reference
        self._want = want
        self._platform = platform
        self._tell = tell
        self._lock = threading.Lock()
        self._current = self._total = 0

    def run(self, now: float) -> Entry:
        self._tell(state="resolving")
        wanted = self._want.digest or self._reference.digest or self._reference.tag or "latest"
        top = self._repository.manifest(wanted)
        document, manifest, platform = self._manifest(top)
        self._intake.blobs([manifest.config], self._fetch)
        config = self._store.config_of(manifest.config.digest, len(manifest.layers))
        platform = self._suitable(platform, config.platform)
        layers = {one.digest: one for one in manifest.layers}.values()  # one may be there twice
        missing = [one for one in layers if not self._store.has(one.digest, one.size)]
        self._total += sum(one.size for one in missing)
        self._room()
        self._tell(state="pulling", current=self._current, total=self._total)
        self._intake.layers(manifest, config, self._fetch, self._tell)
        self._store.put(document.content)
        descriptor = Descriptor(_kind(document), document.digest, len(document.content), platform)
        name = str(self._reference.at(self._reference.digest)) if self._reference.digest else str(self._reference)
        entry = Entry(name, descriptor, top.digest, now)
        self._store.name(entry)
        return entry

    def _manifest(self, top: Document) -> tuple[Document, Manifest, Platform | None]:
        parsed = _parsed(top)
        if isinstance(parsed, Manifest):
            return top, parsed, None
        chosen = manifests.choose(parsed.manifests, self._platform or manifests.here())
        document = self._repository.manifest(chosen.digest)
        inner = _parsed(document)
        if isinstance(inner, Index):
            raise Refusal("its index leads to a further index")
        return document, inner, chosen.platform

    def _suitable(self, said: Platform | None, own: Platform) -> Platform:
        """An image that names no platform is taken as it is; one for another machine only where that was asked for."""
        found = said or own
        if not found.architecture:
            return self._platform or manifests.here()
        if self._platform is None and manifests.suits(found, manifests.here()) is None:
            mine = manifests.here()
            raise Refusal(
                f"it is for {found}, and this machine is {mine}; to have it all the same say platform {found}"
            )
        if self._platform is not None and manifests.suits(found, self._platform) is None:
            raise Refusal(f"there is none for {self._platform}; there are: {found}")
        return replace(found, os=found.os or "linux")

    def _fetch(self, blob: Descriptor) -> None:
        if blob.media_type in (manifests.OCI_CONFIG, manifests.DOCKER_CONFIG) and blob.size > configs.LARGEST:
            raise Refusal(f"its configuration is larger than {configs.LARGEST >> 20} MiB")
        try:
            download(self._store, self._repository, blob, self._caller, self._came)
        except NotThere as error:
            if "foreign" in blob.media_type or "nondistributable" in blob.media_type:
                why = "it is not the registry's to hand out (a foreign layer, as images of Windows have them)"
                raise Refusal(f"its layer {blob.digest} cannot be had: {why}") from error
            raise

    def _came(self, count: int) -> None:
        with self._lock:
            self._current += count
            self._tell(state="pulling", current=self._current, total=self._total)

    def _room(self) -> None:
        """What cannot fit is said before, and not in the middle."""
        disk = os.statvfs(self._store.directory)
        free = disk.f_bavail * disk.f_frsize
        if self._total + ROOM > free:
            raise HostRefused(
                f"{self._total >> 20} MiB are to come, and {self._store.directory} has only {free >> 20} MiB left"
            )


def _parsed(document: Document) -> Manifest | Index:
    try:
        return manifests.parse(document.content, document.media_type)
    except ValueError as error:
        raise Refusal(f"its manifest {document.digest} cannot be used: {error}") from error


def _kind(document: Document) -> str:
    said = manifests.loads(document.content).get("mediaType") or document.media_type.partition(";")[0].strip()
    return str(said) if said in manifests.ACCEPTED else manifests.OCI_MANIFEST


def _plain_hint(reference: Reference, said: str) -> str:
    if "WRONG_VERSION_NUMBER" not in said and "wrong version number" not in said:
        return ""
    return (
        f'; it seems to speak plain HTTP, which must be allowed: \'registries: {{"{reference.registry}": '
        "{plain_http: true}}' in STATE/images.yaml or /etc/pyorch/images.yaml"
    )
