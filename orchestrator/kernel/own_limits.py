"""What the control group that this process sits in may use: a container's or a unit's share of the machine, if any."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.kernel.cgroups import hierarchy, limit_in, read


def memory() -> int | None:
    """Bytes that the group this process sits in may use, its ancestors' limits included; None: all the machine has."""
    found = (
        limit_in(directory + "/" + file) for directory, file in _own("memory", "memory.limit_in_bytes", "memory.max")
    )
    return min((limit for limit in found if limit), default=None)


def pids() -> int | None:
    """Processes and threads that the group this process sits in may have; None: no limit."""
    found = (limit_in(directory + "/" + file) for directory, file in _own("pids", "pids.max", "pids.max"))
    return min((limit for limit in found if limit), default=None)


def cpus() -> float | None:
    """Cores that the group this process sits in may use (CFS quota by period, cgroup-v2 cpu.max); None: no limit."""
    cores = []
    for directory, file in _own("cpu", "cpu.cfs_quota_us", "cpu.max"):
        try:
            quota, *period = read(f"{directory}/{file}").split()
            per = period[0] if period else read(f"{directory}/cpu.cfs_period_us").strip()
        except FileNotFoundError:
            continue
        if quota not in ("max", "-1"):
            cores.append(int(quota) / int(per))
    return min(cores, default=None)


def _own(controller: str, v1: str, v2: str) -> Iterator[tuple[str, str]]:
    """(directory, file) of the groups this process sits in for a controller, from its own up to below the root."""
    here = hierarchy()
    with open("/proc/self/cgroup", encoding="ascii") as lines:
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if here.version == 1 and controller in controllers.split(",") and controller in here.v1:
                point, name = here.v1[controller], v1
            elif here.version == 2 and not controllers and here.unified:
                point, name = here.unified, v2
            else:
                continue
            while path not in ("", "/"):
                yield f"{point}{path}", name
                path = path.rpartition("/")[0]
