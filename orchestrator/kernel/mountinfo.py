"""Which mount a path lies on. proc_pid_mountinfo(5), proc_pid_fdinfo(5)."""

from __future__ import annotations

import os
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
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _, rest = line.partition(" - ")
            words = fields.split()
            if words[0] == number:
                return MountPoint(words[4].replace("\\040", " "), tuple(words[6:]), rest.split(" ")[0])
    return MountPoint("/", (), "")  # above the root directory of this process
