"""Which directories must be watched so that no change of a file goes unseen, and whether a file did change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

MOST_LINKS = 40  # as many as the kernel follows: path_resolution(7)


def directories(path: str) -> set[str]:
    """The real directories in which some step on the way to `path` could be made, replaced or removed.

    Every symbolic link on the way counts: ConfigMap-like trees switch a link to a directory, editors a link to a file.
    What is not there yet is waited for in the nearest directory that is.
    """
    found: set[str] = set()
    here = "/"
    ahead = [part for part in os.path.abspath(path).split("/") if part][::-1]
    links = 0
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        step = os.path.join(here, part)
        if os.path.islink(step) and links < MOST_LINKS:
            links += 1
            found.add(here)
            target = os.readlink(step)
            here = "/" if target.startswith("/") else here
            ahead += target.split("/")[::-1]
        elif ahead and os.path.isdir(step):
            here = step
        else:  # the file itself, or the first step that is missing
            found.add(here)
            break
    return found


def signature(paths: Iterable[str]) -> str:
    """The same exactly as long as every one of these files has the same content, or is missing."""
    digest = hashlib.sha256()
    for path in sorted(set(paths)):
        digest.update(path.encode("utf-8", "surrogateescape") + b"\0")
        try:
            with open(path, "rb") as file:
                digest.update(b"+" + hashlib.sha256(file.read(64 << 20)).digest())
        except OSError as error:
            digest.update(f"-{error.errno}".encode())
    return digest.hexdigest()
