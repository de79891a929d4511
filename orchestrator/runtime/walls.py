"""Where a container's walls differ from the usual, in the words of the OCI runtime spec. Pure.

A namespace of the container's own is listed without a path, one of another container with a path (put in by the agent
at each start, when it knows the process), the host's not at all. config-linux.md, "Namespaces".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.kernel import capabilities
from orchestrator.stack.model import Sandbox, Service

QUIET = ["nosuid", "noexec", "nodev"]
FILESYSTEMS: tuple[dict[str, Any], ...] = (
    {"destination": "/proc", "type": "proc", "source": "proc", "options": QUIET},
    {
        "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*QUIET, "mode=1777", "size=65536k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": QUIET},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*QUIET, "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*QUIET, "ro"]},
)  # fmt: skip

# A program may listen on any port and ping without privileges, as in Docker's containers.
SYSCTL = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}

MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

KINDS = ("pid", "mount", "network", "uts", "ipc", "cgroup", "time")


def shares(service: Service) -> dict[str, str]:
    """Kind of namespace → "host", "service:X" or "container:X", for those that are not the container's own."""
    walls, network = service.sandbox, service.network_mode or ""
    written = {"pid": walls.pid, "ipc": walls.ipc, "uts": walls.uts, "cgroup": walls.cgroup, "network": network}
    return {kind: word for kind, word in written.items() if word == "host" or word.partition(":")[2]}


def namespaces(service: Service) -> list[dict[str, str]]:
    """Those to join have an empty path yet."""
    foreign = shares(service)
    return [
        {"type": kind, "path": ""} if kind in foreign else {"type": kind}
        for kind in KINDS
        if foreign.get(kind) != "host"
    ]


def filesystems(service: Service) -> list[dict[str, Any]]:
    walls = service.sandbox
    made = {str(mount["destination"]): dict(mount) for mount in FILESYSTEMS}
    if walls.shm_size is not None:
        made["/dev/shm"]["options"] = [*QUIET, "mode=1777", f"size={walls.shm_size}"]
    if walls.ipc == "host":
        path, options = "/dev/shm", ["rbind", "rprivate"]
        made[path] = {"destination": path, "type": "bind", "source": path, "options": options}
    if "ipc" in shares(service) and walls.ipc != "host":
        # With their IPC namespace goes their /dev/shm; `source`: their mount namespace, put in at each start.
        made["/dev/shm"] = {"destination": "/dev/shm", "type": "shm", "source": "", "options": []}
    if walls.cgroup == "host" and not walls.privileged:
        made["/sys/fs/cgroup"]["source"] = "/sys/fs/cgroup"  # all of it, not only the container's own group
    if walls.privileged:
        for path in ("/sys", "/sys/fs/cgroup"):
            made[path]["options"] = [option for option in made[path]["options"] if option != "ro"]
    return list(made.values())


def settings(service: Service) -> dict[str, str]:
    """Kernel parameters: ours only where the network namespace is the container's own."""
    usual = {} if "network" in shares(service) else SYSCTL
    return {**usual, **service.sandbox.sysctls}


def closed(walls: Sandbox, paths: Sequence[str]) -> list[str]:
    """Paths that are hidden, or may only be read; none where that was lifted."""
    return [] if walls.unmasked or walls.privileged else list(paths)


def own_devices(service: Service) -> bool:
    """It may open devices that others may not."""
    walls = service.sandbox
    return bool(walls.privileged or walls.devices or walls.device_cgroup_rules)


def powers(service: Service, granted: Sequence[str]) -> list[str]:
    return [f"CAP_{name}" for name in (capabilities.NAMES if service.sandbox.privileged else granted)]
