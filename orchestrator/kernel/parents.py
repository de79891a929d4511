"""The group that a root's containers have in common: made ready for children, and removed. man 7 cgroups."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from orchestrator.kernel import cgroups, devices, rare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_V2_USED = ("cpu", "memory", "pids")
# In the v1 cpu hierarchy a child competes as one task of weight 1024 with every single task of the root group.
_PARENT_SHARES = 20480


def prepare(parent: str, resources: Mapping[str, Any] | None = None) -> None:
    """Make the parent group ("/pyorch-1a2b3c") ready for children: controllers, device rules, share. Once is enough.

    `resources`: of a child that may need controllers which few need.
    """
    whole = cgroups.hierarchy()
    _prepare_often(whole, parent)
    for controller in rare.asked(resources or {}):
        if (parent, controller) not in whole.ready_rarely:
            _prepare_rarely(whole, parent, controller)
            whole.ready_rarely.add((parent, controller))


def _prepare_rarely(whole: cgroups.Hierarchy, parent: str, controller: str) -> None:
    if whole.version == 2:
        assert whole.unified is not None
        for directory in (whole.unified, whole.unified + parent):
            if rare.CONTROLLERS[controller] not in cgroups.read(f"{directory}/cgroup.controllers").split():
                raise OSError(errno.ENOSYS, f"cannot use the cgroup controller {controller}: this machine offers none")
            _enable(directory, (rare.CONTROLLERS[controller],))
        return
    if controller not in whole.v1:
        raise OSError(errno.ENOSYS, f"cannot use the cgroup controller {controller}: this machine offers none")
    point = whole.v1[controller]
    os.makedirs(point + parent, 0o755, exist_ok=True)
    for file in ("cpuset.mems", "cpuset.cpus") if controller == "cpuset" else ():
        if not cgroups.read(f"{point}{parent}/{file}").strip():  # a new group has none
            cgroups.write(f"{point}{parent}/{file}", cgroups.read(f"{point}/{file}").strip())


def _prepare_often(whole: cgroups.Hierarchy, parent: str) -> None:
    if parent in whole.ready and os.path.isdir(whole.ready[parent]):
        return
    if whole.version == 2:
        assert whole.unified is not None
        _enable(whole.unified)
        os.makedirs(whole.unified + parent, 0o755, exist_ok=True)
        _enable(whole.unified + parent)
        if not parent.endswith(cgroups.OWN_DEVICES):
            devices.restrict_v2(whole.unified + parent)
    else:
        for directory in whole.directories(parent).values():
            os.makedirs(directory, 0o755, exist_ok=True)
        if "cpu" in whole.v1:
            cgroups.write(f"{whole.v1['cpu']}{parent}/cpu.shares", str(_PARENT_SHARES))
        if "devices" in whole.v1 and not parent.endswith(cgroups.OWN_DEVICES):
            devices.restrict_v1(whole.v1["devices"] + parent)
    whole.ready[parent] = next(iter(whole.directories(parent).values()))


def forget(parent: str) -> None:
    """Remove the parent group; no error where children or processes keep it."""
    whole = cgroups.hierarchy()
    few = [whole.v1[name] + parent for name in rare.CONTROLLERS if name in whole.v1] if whole.version == 1 else []
    for directory in (*whole.directories(parent).values(), *few):
        try:
            os.rmdir(directory)
        except (FileNotFoundError, OSError) as error:
            if error.errno not in (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY):
                raise
    whole.ready.pop(parent, None)
    whole.ready_rarely = {known for known in whole.ready_rarely if known[0] != parent}


def _enable(directory: str, names: tuple[str, ...] = _V2_USED) -> None:
    """Hand the controllers we use down to the children of a v2 group."""
    wanted = [name for name in names if name in cgroups.read(f"{directory}/cgroup.controllers").split()]
    enabled = cgroups.read(f"{directory}/cgroup.subtree_control").split()
    for name in wanted:
        if name not in enabled:
            try:
                cgroups.write(f"{directory}/cgroup.subtree_control", f"+{name}")
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                _evacuate(directory)
                cgroups.write(f"{directory}/cgroup.subtree_control", f"+{name}")


def _evacuate(directory: str) -> None:
    """Move the processes of a group into a child of it: only the root of all may have both ("no internal processes").

    Met where "our" root is the group that a container or systemd (Delegate=yes) gave us, with ourselves in it.
    """
    os.makedirs(f"{directory}/pyorch-others", 0o755, exist_ok=True)
    for pid in cgroups.read(f"{directory}/cgroup.procs").split():
        with suppress(ProcessLookupError):
            cgroups.write(f"{directory}/pyorch-others/cgroup.procs", pid)
