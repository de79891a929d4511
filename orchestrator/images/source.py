"""Where an image comes from, by how its reference is written: a transport before it, else a registry. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["oci", "oci-archive", "docker-archive"]

IMAGE = "docker-image://"  # how a named context of a build says that it is one


@dataclass(frozen=True, slots=True)
class Files:
    """An image in files of this machine: a layout's directory, or an archive. `tag`: which one, "" where it has one."""

    kind: Kind
    path: str
    tag: str = ""


def files(reference: str) -> Files | None:
    """`oci:/dir[:tag]`, `oci-archive:/file[:tag]`, `docker-archive:/file[:name:tag]`; None for all others."""
    transport, colon, rest = reference.partition(":")
    for kind in get_args(Kind):
        if colon and transport == kind and rest.startswith(("/", ".")):
            path, _, tag = rest.partition(":")
            return Files(kind, path, tag)
    return None


def is_live(reference: str) -> bool:
    """A root that is used as it stands and never copied: host:/ and dir:/path."""
    return reference.startswith(("host:", "dir:"))
