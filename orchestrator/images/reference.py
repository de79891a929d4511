"""Names of images as Docker writes and completes them: `nginx` is docker.io/library/nginx:latest. Pure.

Grammar: https://pkg.go.dev/github.com/distribution/reference (the package documentation), which the OCI Distribution
Specification 1.1 ("Pulling manifests") agrees with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

HUB = "docker.io"
LONGEST = 255  # characters of registry and repository together

_DOMAIN = re.compile(
    r"(?:\[[0-9a-fA-F:]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)"
    r"(?::[0-9]+)?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A complete name: at least one of `tag` and `digest` is there."""

    registry: str  # "docker.io", "registry.example:5000"
    repository: str  # "library/nginx"
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return self.name + _tail(self)

    @property
    def familiar(self) -> str:
        """As people write it: what Docker fills in is left out, the tag is not."""
        return self.familiar_name + _tail(self)

    @property
    def familiar_name(self) -> str:
        if self.registry != HUB:
            return self.name
        return self.repository.removeprefix("library/") if self.repository.count("/") == 1 else self.repository

    def at(self, digest: str) -> Reference:
        """The same repository, this very content."""
        return replace(self, tag=None, digest=digest)


def parse(text: str) -> Reference:
    """The complete name. Raises ValueError with what is wrong with the text."""
    rest, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is no digest: sha256: and 64 hexadecimal digits")
    tag: str | None = None
    head, colon, last = rest.rpartition(":")
    if colon and "/" not in last:
        rest, tag = head, last
        if not _TAG.fullmatch(tag):
            raise ValueError(f"{tag!r} is no tag: letters, digits, '_', '.' and '-', at most 128")
    registry, repository = _split(rest)
    if not _DOMAIN.fullmatch(registry):
        raise ValueError(f"{registry!r} is no registry's host name")
    if not _PATH.fullmatch(repository):
        lower = "; a repository's name is written in lower case" if repository != repository.lower() else ""
        raise ValueError(f"{repository or rest!r} is no repository's name{lower}")
    if len(registry) + 1 + len(repository) > LONGEST:
        raise ValueError(f"the name is longer than {LONGEST} characters")
    if tag is None and not at:
        tag = "latest"
    return Reference(registry, repository, tag, digest or None)


def one_spelling(text: str) -> str:
    """The same for all ways to write one image's name: `alpine` and `docker.io/library/alpine:latest` are one. What is
    no image's name stays as it is."""
    try:
        return str(parse(text))
    except ValueError:
        return text


def _split(text: str) -> tuple[str, str]:
    """(registry, repository): a first part with '.', ':' or upper case, or "localhost", is a registry."""
    first, slash, rest = text.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return HUB, text if slash else f"library/{text}"
    if first in (HUB, "index.docker.io"):
        return HUB, rest if "/" in rest else f"library/{rest}"
    return first, rest


def _tail(reference: Reference) -> str:
    tag = f":{reference.tag}" if reference.tag else ""
    return tag + (f"@{reference.digest}" if reference.digest else "")
