"""All processes of a container stand still for a while: the freezer of cgroup v1 and v2.

Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst, cgroup-v2.rst "cgroup.freeze". On v1 the freezer is a
hierarchy of its own, which a container enters only when it is paused for the first time: a birth costs nothing more.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.kernel.cgroups import Group


def freeze(group: Group) -> bool:
    """Let everything in the group stand still. False: not all of it does yet (within the kernel it takes a moment);
    come again."""
    if group.version == 2:
        _write(f"{group.directories['unified']}/cgroup.freeze", "1")
    else:
        _write(f"{_gather(group)}/freezer.state", "FROZEN")
    return frozen(group)


def thaw(group: Group) -> None:
    """Everything goes on where it stood; no error where it never stood still, or is gone."""
    with suppress(FileNotFoundError):
        if group.version == 2:
            _write(f"{group.directories['unified']}/cgroup.freeze", "0")
        elif directory := _directory(group):
            _write(f"{directory}/freezer.state", "THAWED")


def frozen(group: Group) -> bool:
    try:
        if group.version == 2:
            with open(f"{group.directories['unified']}/cgroup.events", encoding="ascii") as file:
                return "frozen 1" in file.read()
        directory = _directory(group)
        if directory is None:
            return False
        with open(f"{directory}/freezer.state", encoding="ascii") as file:
            return file.read().strip() == "FROZEN"
    except FileNotFoundError:
        return False


def forget(group: Group) -> bool:
    """Remove what v1 needed. False: a process in it has not ended yet."""
    directory = _directory(group) if group.version == 1 else None
    try:
        if directory:
            os.rmdir(directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


_v1: str | None = None


def _point() -> str:
    """Where v1's freezer is mounted; "" where it is not."""
    global _v1
    if _v1 is None:
        _v1 = ""
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                _, point, fstype, options = line.split(" ")[:4]
                if fstype == "cgroup" and "freezer" in options.split(","):
                    _v1 = point
    return _v1


def _directory(group: Group) -> str | None:
    """Flat, so that there is no parent to be removed: /pyorch-1a2b3c/0123 is …/pyorch-1a2b3c-0123 here."""
    return f"{_point()}/{group.path.strip('/').replace('/', '-')}" if _point() else None


def _gather(group: Group) -> str:
    """Move the group's processes into a freezer group, those born meanwhile too."""
    directory = _directory(group)
    if directory is None:
        raise OSError(errno.ENOSYS, "cannot pause: this machine has mounted no freezer of control groups")
    with suppress(FileExistsError):
        os.mkdir(directory, 0o755)
    moved: set[int] = set()
    while left := set(group.processes()) - moved:
        for pid in left:
            with suppress(ProcessLookupError):
                _write(f"{directory}/cgroup.procs", str(pid))
        moved |= left
    return directory


def _write(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
