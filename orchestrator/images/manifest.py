"""What registries and layouts say of an image: descriptors, manifests, indexes, and the choice of a platform. Pure.

OCI Image Format Specification 1.1 (manifest.md, image-index.md, descriptor.md) and Docker's schema 2, which differs in
media types only. Every function raises ValueError with the reason where a document is not what it should be.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.images.reference import DIGEST

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ACCEPTED = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)
LARGEST = 4 << 20  # bytes: what a registry must accept (Distribution Specification, "Pushing manifests")
MOST_LAYERS = 500  # overlayfs mounts no more (fs/overlayfs, OVL_MAX_STACK)

# uname(2) machine → GOARCH, variant
_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "riscv64": ("riscv64", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "loongarch64": ("loong64", ""),
}


@dataclass(frozen=True, slots=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob by its content: `digest` names it, `size` is in bytes."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        made: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.platform:
            made["platform"] = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                made["platform"]["variant"] = self.platform.variant
        return made | ({"annotations": dict(self.annotations)} if self.annotations else {})


@dataclass(frozen=True, slots=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]  # the lowest first


@dataclass(frozen=True, slots=True)
class Index:
    manifests: tuple[Descriptor, ...]


def here() -> Platform:
    """The platform of this machine."""
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def platform(text: str) -> Platform:
    """ "linux/arm64", "linux/arm/v7", "arm64" as Docker reads them."""
    parts = text.lower().split("/")
    if len(parts) == 1:
        parts = ["linux", *parts]
    if len(parts) > 3 or not all(part.replace("-", "").replace("_", "").isalnum() for part in parts):
        raise ValueError(f"{text!r} is no platform: write it as linux/amd64 or linux/arm/v7")
    architecture = {"x86_64": "amd64", "aarch64": "arm64", "armhf": "arm"}.get(parts[1], parts[1])
    return Platform(parts[0], architecture, parts[2] if len(parts) == 3 else "")


def loads(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def parse(content: bytes, media_type: str = "") -> Manifest | Index:
    """A manifest or an index, by what it says it is, else by what it was served as, else by what it holds."""
    value = loads(content)
    kind = value.get("mediaType") or media_type.partition(";")[0].strip()
    if value.get("schemaVersion") == 1:
        raise ValueError(
            "it has Docker's schema 1, which is ten years out of use; push the image again with a new tool"
        )
    if value.get("schemaVersion") != 2:
        raise ValueError(f"its schemaVersion is {value.get('schemaVersion')!r} and not 2")
    if kind in (OCI_INDEX, DOCKER_INDEX) or (kind not in ACCEPTED and "manifests" in value):
        return Index(tuple(descriptor(one) for one in _list(value, "manifests")))
    if kind and kind not in ACCEPTED and kind != "application/json":
        raise ValueError(f"it is of the unknown kind {kind!r}")
    layers = tuple(descriptor(one) for one in _list(value, "layers"))
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"it has {len(layers)} layers, but a root can be made of {MOST_LAYERS}")
    config = descriptor(value.get("config"))
    if config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        raise ValueError(f"it is no container image: its configuration is of kind {config.media_type!r}")
    for layer in layers:
        if "tar" not in layer.media_type or "encrypted" in layer.media_type:
            raise ValueError(f"its layer {layer.digest} is of the unknown kind {layer.media_type!r}")
    return Manifest(config, layers)


def descriptor(value: Any) -> Descriptor:
    if not isinstance(value, dict):
        raise ValueError("a descriptor in it is no JSON object")
    digest, size, kind = value.get("digest"), value.get("size"), value.get("mediaType")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise ValueError(f"a descriptor in it has the digest {digest!r}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"its descriptor of {digest} has the size {size!r}")
    found, notes = value.get("platform"), value.get("annotations") or {}
    if not isinstance(notes, dict):
        raise ValueError(f"the annotations of {digest} in it are no JSON object")
    of = None
    if isinstance(found, dict):
        of = Platform(*(str(found.get(key) or "") for key in ("os", "architecture", "variant")))
    return Descriptor(str(kind or ""), digest, size, of, {str(key): str(note) for key, note in notes.items()})


def choose(candidates: Iterable[Descriptor], wanted: Platform) -> Descriptor:
    """The manifest for a platform. Raises ValueError naming those that there are."""
    real = [one for one in candidates if one.platform is None or one.platform.os not in ("unknown", "")]
    ranked = [(rank, one) for one in real if one.platform and (rank := suits(one.platform, wanted)) is not None]
    if ranked:
        return min(ranked, key=lambda pair: pair[0])[1]
    if len(real) == 1 and real[0].platform is None:
        return real[0]
    there = ", ".join(sorted({str(one.platform) for one in real if one.platform})) or "none that says for which"
    raise ValueError(f"there is none for {wanted}; there are: {there}")


def suits(offered: Platform, wanted: Platform) -> int | None:
    """How well `offered` runs where `wanted` is asked for: 0 is exactly it; None: not at all."""
    if (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return None
    ours, theirs = _variant(wanted), _variant(offered)
    return ours - theirs if theirs <= ours else None


def _variant(of: Platform) -> int:
    """Later variants run what was made for earlier ones; nothing written means the usual one."""
    usual = {"arm": 7, "arm64": 8, "amd64": 1}.get(of.architecture, 0)
    digits = of.variant.lower().removeprefix("v").partition(".")[0]
    return int(digits) if digits.isdecimal() else usual


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    if not isinstance(found, list):
        raise ValueError(f"its {key!r} is no list")
    return found
