"""Where control groups are, and how the limits of an OCI spec are written in either version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.kernel import cgroups, limits

HYBRID = """\
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""
UNIFIED = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"
RESOURCES: dict[str, Any] = {
    "cpu": {"shares": 1024, "quota": 50_000, "period": 100_000},
    "memory": {"limit": 64 << 20, "swap": 64 << 20, "reservation": 32 << 20},
    "pids": {"limit": 64},
}


def test_controllers_are_found_in_both_layouts(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(HYBRID)
    together = "/sys/fs/cgroup/cpu,cpuacct"
    assert cgroups.mounted(str(mounts)) == (
        {"cpu": together, "cpuacct": together, "memory": "/sys/fs/cgroup/memory"},
        "/sys/fs/cgroup/unified",
    )
    mounts.write_text(UNIFIED)
    assert cgroups.mounted(str(mounts)) == ({}, "/sys/fs/cgroup")


def test_limits_are_written_as_each_version_has_them() -> None:
    v1 = {file: value for file, value in limits.v1(RESOURCES) if value is not None}
    assert v1 == {
        "cpu.shares": "1024",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "50000",
        "memory.limit_in_bytes": "67108864",
        "memory.soft_limit_in_bytes": "33554432",
        "memory.memsw.limit_in_bytes": "67108864",
        "pids.max": "64",
    }
    v2 = {file: value for file, value in limits.v2(RESOURCES) if value is not None}
    assert v2 == {
        "cpu.weight": "39",
        "cpu.max": "50000 100000",
        "memory.max": "67108864",
        "memory.low": "33554432",
        "memory.swap.max": "0",
        "pids.max": "64",
    }


def test_what_is_not_limited_is_not_written() -> None:
    for version in (limits.v1, limits.v2):
        assert [value for _, value in version({}) if value is not None] == []


@pytest.mark.parametrize("path", ["/pyorch/../../etc", "relative/name", "/one", "/a/b/c"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(OSError, match="cannot use cgroup path"):
        cgroups.Group(path)
