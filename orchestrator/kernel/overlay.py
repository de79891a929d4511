"""An overlay mounted by this process for itself, in a mount namespace of its own. A container's is `mounting.overlay`.

Documentation/filesystems/overlayfs.rst; mount(2), mount_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence

from orchestrator.kernel import mounts, namespaces, syscalls

_RECURSIVE, _PRIVATE = 0x8000, 1 << 18


def stand_alone() -> None:
    """What this process mounts from now on is seen by nobody else, and goes with it."""
    namespaces.unshare(namespaces.NEWNS)
    attributes = struct.pack("=4Q", 0, 0, _PRIVATE, 0)
    arguments = (syscalls.AT_FDCWD, b"/", _RECURSIVE, attributes, ctypes.c_long(len(attributes)))
    syscalls.call("make the mounts private", "mount_setattr", *arguments)


def mount(target: str, lower: Sequence[str], upper: str, work: str) -> None:
    """Mount an overlay of the directories `lower` (topmost first) under the writable `upper` onto `target`."""
    home, options = options_of(lower, upper, work)
    before = os.open(".", os.O_PATH | os.O_CLOEXEC)
    os.chdir(home)
    try:
        syscalls.call(f"mount an overlay on {target}", "mount", b"overlay", target.encode(), b"overlay", 0, options)
    finally:
        os.fchdir(before)
        os.close(before)


def options_of(lower: Sequence[str], upper: str, work: str) -> tuple[str, bytes]:
    """(the directory to stand in, the options): all options go into one page of text, and a hundred layers fit into
    it only by their names in the directory where they lie together."""
    home, names = "/", list(lower)
    for _ in range(2):
        stack = ":".join(map(mounts.escape, names))
        options = f"lowerdir={stack},upperdir={mounts.escape(upper)},workdir={mounts.escape(work)},volatile".encode()
        if len(options) < mounts.PAGE:
            break
        home = os.path.commonpath(lower)
        names = [os.path.relpath(directory, home) for directory in lower]
    return home, options
