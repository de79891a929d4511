"""Which mount a path lies on. proc_pid_mountinfo(5), proc_pid_fdinfo(5)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple


class MountPoint(NamedTuple):
    """A row of proc_pid_mountinfo(5). `passes`: its optional fields, "shared:N", "master:N" …"""

    point: str
    passes: tuple[str, ...]
    filesystem: str


def mount_of(path: str) -> MountPoint:
    """The mount of this process that `path` lies on."""
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{opened}", encoding="ascii") as rows:
            number = next(row.split()[1] for row in rows if row.startswith("mnt_id:"))
    finally:
        os.close(opened)
    found = (point for each, point in _rows() if each == number)
    return next(found, MountPoint("/", (), ""))  # above the root directory of this process


def is_point(path: str) -> bool:
    """Whether something is mounted at `path`, which holds no symlink. Nothing of what is there is touched."""
    return any(point.point == path for _, point in _rows())


def _rows() -> Iterator[tuple[str, MountPoint]]:
    """(number, row) of each mount of this process."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _, rest = line.partition(" - ")
            words = fields.split()
            place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), words[4])
            yield words[0], MountPoint(place, tuple(words[6:]), rest.split(" ")[0])
