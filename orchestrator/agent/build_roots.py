"""The roots that the steps of a build read and write: overlays of layers, in a mount namespace of the process's own.

Whatever is mounted for a step goes with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from typing import Any

from orchestrator.kernel import mounts, overlay

_alone = False


def stand_alone() -> None:
    """Once: mounts of ours are seen by nobody else, and end with us."""
    global _alone
    if not _alone:
        overlay.stand_alone()
        _alone = True


@contextlib.contextmanager
def written(task: dict[str, Any]) -> Iterator[int]:
    """The stage's root, open; what is written into it lands in `home`/upper."""
    with mounted(task["lower"], task["home"]) as path:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def readable(source: dict[str, Any], home: str) -> Iterator[str]:
    if "directory" in source:
        yield source["directory"]
        return
    aside = os.path.join(home, f"from-{secrets.token_hex(4)}")
    os.mkdir(aside)
    with mounted(source["layers"], aside) as path:
        yield path


@contextlib.contextmanager
def mounted(lower: list[str], home: str) -> Iterator[str]:
    stand_alone()
    merged, upper, work = (os.path.join(home, name) for name in ("merged", "upper", "work"))
    for path in (merged, upper, work):
        os.makedirs(path, mode=0o755, exist_ok=True)
    overlay.mount(merged, lower, upper, work)
    try:
        yield merged
    finally:
        mounts.detach(merged)
        shutil.rmtree(work)
