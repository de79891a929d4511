"""A repository in a registry: what one asks of it, and what one gives it. OCI Distribution Specification 1.1.

Nothing is returned whose digest was not seen to be right. Errors say what the registry said; the caller, who knows what
it was for, puts "cannot pull X" before them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from orchestrator.errors import OrchestratorError, Unreachable
from orchestrator.images import manifest as manifests
from orchestrator.images.http import (
    ATTEMPTS,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Denied,
    Line,
    NotThere,
    Refusal,
    Response,
    whole,
)
from orchestrator.images.reference import Reference

T = TypeVar("T")
PIECE = 8 << 20  # bytes of an upload at a time


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index as it came: `digest` is that of `content`."""

    content: bytes
    media_type: str
    digest: str


class Repository:
    """The repository of a reference. Mirrors are asked first for everything that is read."""

    def __init__(self, line: Line, reference: Reference) -> None:
        self._line = line
        self._of = reference
        self._endpoints = line.settings.endpoints(reference.registry)
        self._scope = f"repository:{reference.repository}:pull"

    def manifest(self, wanted: str) -> Document:
        """By tag or digest. Raises Denied, NotThere, Refusal, Unreachable."""

        def ask(base: str, patient: bool) -> Document:
            accept = {"Accept": ", ".join(manifests.ACCEPTED)}
            answer = self._read("GET", base, f"manifests/{wanted}", accept, patient=patient)
            content = whole(answer, manifests.LARGEST, self._line.caller.clock)
            if len(content) > manifests.LARGEST:
                raise Refusal(f"its manifest is larger than {manifests.LARGEST >> 20} MiB")
            algorithm = wanted.partition(":")[0] if ":" in wanted else "sha256"
            digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
            if ":" in wanted and digest != wanted:
                raise Refusal(f"its manifest came with the digest {digest} and not {wanted}")
            said = answer.headers.get("Docker-Content-Digest", "")
            if said.startswith(f"{algorithm}:") and said != digest:
                raise Refusal(f"its manifest is said to have the digest {said}, and has {digest}")
            return Document(content, answer.headers.get("Content-Type", ""), digest)

        return self._anywhere(ask)

    def digest(self, tag: str) -> str:
        """What a tag points to now, without fetching it. Raises as `manifest`."""

        def ask(base: str, patient: bool) -> str:
            accept = {"Accept": ", ".join(manifests.ACCEPTED)}
            answer = self._read("HEAD", base, f"manifests/{tag}", accept, patient=patient)
            answer.drain_conn()
            return answer.headers.get("Docker-Content-Digest", "")

        return self._anywhere(ask) or self.manifest(tag).digest

    def blob(self, digest: str, start: int = 0) -> Response:
        """The blob from byte `start`: 206 where the registry can do that, else 200 and from the beginning; 416: it has
        no such byte. The body is still to be read. Raises as `manifest`.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}

        def ask(base: str, patient: bool) -> Response:
            return self._read("GET", base, f"blobs/{digest}", headers, accept=(200, 206, 416), patient=patient)

        return self._anywhere(ask)

    # giving

    def has_blob(self, digest: str) -> bool:
        try:
            answer = self._write("HEAD", f"blobs/{digest}", accept=(200,))
        except NotThere:
            return False
        answer.drain_conn()
        return True

    def give_blob(self, digest: str, size: int, file: IO[bytes]) -> None:
        """Upload in one piece ("Pushing a blob monolithically", POST then PUT); a broken one is begun anew."""
        for attempt in range(ATTEMPTS):
            begun = self._write("POST", "blobs/uploads/", headers={"Content-Length": "0"}, accept=(202,))
            where = begun.headers.get("Location", "")
            begun.drain_conn()
            if not where:
                raise Refusal("it does not say where to put a blob")
            where += ("&" if "?" in where else "?") + f"digest={digest}"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            try:
                self._write("PUT", where, headers=headers, body=file, accept=(201, 204), patient=False).drain_conn()
                return
            except (NotThere, Unreachable):  # the session of an upload ends with its connection
                if attempt + 1 == ATTEMPTS:
                    raise
                self._line.caller.pause(min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE))
                file.seek(0)

    def give_manifest(self, tag: str, content: bytes, media_type: str) -> None:
        headers = {"Content-Type": media_type}
        self._write("PUT", f"manifests/{tag}", headers=headers, body=content, accept=(201, 200)).drain_conn()

    # asking

    def _anywhere(self, ask: Callable[[str, bool], T]) -> T:
        """At the mirrors, then at the registry itself; a mirror's trouble is nobody's, if the registry has it."""
        last: OrchestratorError | None = None
        for base, mirror in self._endpoints:
            try:
                return ask(base, not mirror)
            except (OrchestratorError, ValueError) as error:
                if not mirror:
                    raise
                last = error if isinstance(error, OrchestratorError) else None
        raise last or NotThere("there is no registry to ask")

    def _read(
        self,
        method: str,
        base: str,
        path: str,
        headers: dict[str, str],
        accept: tuple[int, ...] = (200,),
        patient: bool = True,
    ) -> Response:
        of = self._of
        full = f"v2/{of.repository}/{path}"
        return self._line.ask(
            method, base, full, registry=of.registry, scope=self._scope, headers=headers, accept=accept, patient=patient
        )

    def _write(
        self,
        method: str,
        path: str,
        *,
        accept: tuple[int, ...],
        headers: dict[str, str] | None = None,
        body: Any = None,
        patient: bool = True,
    ) -> Response:
        of, base = self._of, self._endpoints[-1][0]
        full = path if "://" in path or path.startswith("/") else f"v2/{of.repository}/{path}"
        scope = f"repository:{of.repository}:pull,push"
        return self._line.ask(
            method,
            base,
            full,
            registry=of.registry,
            scope=scope,
            headers=headers,
            body=body,
            accept=accept,
            patient=patient,
        )


def pieces(answer: Response, count: int = 1 << 18) -> Iterator[bytes]:
    """The body as it comes, undecoded."""
    while piece := answer.read1(count):
        yield piece


__all__ = ["Denied", "Document", "NotThere", "Refusal", "Repository", "pieces"]
