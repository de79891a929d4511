"""`dir:/path`: a root directory somebody else made and keeps. Nothing is copied; it is the lower layer as it stands."""

from __future__ import annotations

import hashlib
import os

from orchestrator.errors import Missing
from orchestrator.images.image import Image


def prepare(path: str) -> Image:
    """The directory as an image. Raises Missing with the reason why it cannot be one."""
    if reason := _unusable(path):
        raise Missing(f"cannot use image 'dir:{path}': {reason}")
    real = os.path.realpath(path)
    known = os.stat(real)
    digest = hashlib.sha256(f"{real}\0{known.st_dev}\0{known.st_ino}".encode()).hexdigest()
    return Image(reference=f"dir:{path}", digest=f"sha256:{digest}", layers=(real,))


def _unusable(path: str) -> str | None:
    if not path.startswith("/"):
        return "the path must be absolute, as in dir:/srv/roots/debian"
    real = os.path.realpath(path)
    if not os.path.lexists(path):
        return "there is no such directory"
    if not os.path.isdir(real):
        return "it is not a directory"
    if real == "/":
        return "that is the whole machine with all its secrets; use host:/"
    if ":" in real:
        return "its path holds ':', which parts the layers of a root; use a path without it"
    return None
