"""The `linux.resources` of an OCI spec as files of a control group and what is written into them. Pure."""

from __future__ import annotations

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
        ("memory.soft_limit_in_bytes", _text(memory.get("reservation"))),
        ("memory.memsw.limit_in_bytes", _text(swap)),
        ("pids.max", _text(pids.get("limit"))),
    ]


def v2(resources: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    cpu, memory, pids = (resources.get(name) or {} for name in ("cpu", "memory", "pids"))
    shares, quota, limit, swap = cpu.get("shares"), cpu.get("quota"), memory.get("limit"), memory.get("swap")
    return [
        # The OCI conversion of 2 … 262144 to 1 … 10000 (opencontainers/runtime-spec, config-linux.md#cpu).
        ("cpu.weight", None if shares is None else str(1 + (shares - 2) * 9999 // 262142)),
        ("cpu.max", None if quota is None else f"{quota} {cpu.get('period', 100000)}"),
        ("memory.max", _text(limit)),
        ("memory.low", _text(memory.get("reservation"))),
        ("memory.swap.max", None if swap is None or limit is None else str(swap - limit)),  # v2 counts swap alone
        ("pids.max", _text(pids.get("limit"))),
    ]


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
