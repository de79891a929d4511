"""The one door: reference → Image, made ready on disk; and the way back."""

from __future__ import annotations

from orchestrator.errors import Missing
from orchestrator.images import directory, host
from orchestrator.images.image import Image
from orchestrator.root import Root


def prepare(reference: str, root: Root) -> Image:
    """Make the image ready to be mounted; cheap when it already is, so that every start may ask.

    Raises Missing where there is no such image or nobody here can fetch it, HostRefused where the kernel said no.
    """
    transport, colon, rest = reference.partition(":")
    match transport:
        case "host" if rest == "/":
            return host.prepare(root)
        case "host" if colon:
            raise Missing(f"cannot use image '{reference}': the machine's own programs are 'host:/', and no part of it")
        case "dir" if colon:
            return directory.prepare(rest)
        case _:
            raise Missing(f"cannot use image '{reference}': registries are not supported yet; use host:/ or dir:/path")


def collect(root: Root) -> None:
    """Remove what was made for earlier states of the machine; only while no container exists."""
    host.collect(root)
