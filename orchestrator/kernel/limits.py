"""The `linux.resources` of an OCI spec as files of a control group and what is written into them. Pure."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def v1(resources: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    cpu, memory, pids = (resources.get(name) or {} for name in ("cpu", "memory", "pids"))
    limit, swap = memory.get("limit"), memory.get("swap")
    return [
        ("cpu.shares", _text(cpu.get("shares"))),
        ("cpu.cfs_period_us", _text(cpu.get("period"))),
        ("cpu.cfs_quota_us", _text(cpu.get("quota"))),
        ("memory.limit_in_bytes", _text(limit)),
        ("memory.swappiness", _text(memory.get("swappiness"))),
        ("memory.oom_control", "1" if memory.get("disableOOMKiller") else None),
        ("memory.soft_limit_in_bytes", _text(memory.get("reservation"))),
        ("memory.memsw.limit_in_bytes", _text(swap)),
        ("pids.max", _end(pids.get("limit"))),
    ]


def v2(resources: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    cpu, memory, pids = (resources.get(name) or {} for name in ("cpu", "memory", "pids"))
    shares, quota, limit, swap = cpu.get("shares"), cpu.get("quota"), memory.get("limit"), memory.get("swap")
    for name, word in (("swappiness", "mem_swappiness"), ("disableOOMKiller", "oom_kill_disable")):
        if memory.get(name):
            raise OSError(errno.ENOSYS, f"cannot set {word}: control groups of version 2 have no such setting")
    return [
        # The OCI conversion of 2 … 262144 to 1 … 10000 (opencontainers/runtime-spec, config-linux.md#cpu).
        ("cpu.weight", None if shares is None else str(1 + (shares - 2) * 9999 // 262142)),
        ("cpu.max", None if quota is None else f"{_end(quota)} {cpu.get('period', 100000)}"),
        ("memory.max", _text(limit)),
        ("memory.low", _text(memory.get("reservation"))),
        ("memory.swap.max", _swap(limit, swap)),
        ("pids.max", _end(pids.get("limit"))),
    ]


# What says "no limit" in each file, for a limit that is taken away from a living group.
UNSET = {
    "cpu.cfs_quota_us": "-1",
    "cpu.max": "max",
    "memory.limit_in_bytes": "-1",
    "memory.memsw.limit_in_bytes": "-1",
    "memory.soft_limit_in_bytes": "-1",
    "memory.max": "max",
    "memory.low": "0",
    "memory.swap.max": "max",
}
_PAGE = 4096


def as_rounded(found: str, written: str) -> bool:
    """The kernel keeps bytes in whole pages."""
    if not (found.isdigit() and written.isdigit()):
        return False
    return int(found) == int(written) // _PAGE * _PAGE


def _swap(limit: int | None, swap: int | None) -> str | None:
    """v2 counts swap alone."""
    if swap is None or limit is None:
        return None
    return "max" if swap == -1 else str(swap - limit)


def _end(number: int | None) -> str | None:
    """-1 is "no limit" in the OCI's words, "max" in the kernel's."""
    return "max" if number == -1 else _text(number)


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
