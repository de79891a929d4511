"""What of the written ulimits this process may grant: without CAP_SYS_RESOURCE no more than it has. man 2 getrlimit."""

from __future__ import annotations

import resource
from collections.abc import Mapping

_SYS_RESOURCE = 24  # capabilities(7)
Limits = Mapping[str, tuple[int, ...]]


def grantable(wanted: Limits, *, mighty: bool | None = None) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """(name → (soft, hard) that can be set, a sentence for each that had to be lowered). -1: no limit.

    `mighty`: whether hard limits may be raised; None: asked of the kernel.
    """
    if not wanted or (may_raise() if mighty is None else mighty):
        return dict(wanted), []
    granted: dict[str, tuple[int, ...]] = {}
    said: list[str] = []
    for name, (soft, hard) in wanted.items():
        most = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
        granted[name] = (_least(soft, most), _least(hard, most))
        if granted[name] != (soft, hard):
            said.append(
                f"ulimit {name} is {granted[name][1]}, not {_shown(hard)}: pyorch runs without CAP_SYS_RESOURCE"
            )
    return granted, said


def may_raise() -> bool:
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return bool(effective >> _SYS_RESOURCE & 1)


def _least(one: int, other: int) -> int:
    if -1 in (one, other):
        return max(one, other)
    return min(one, other)


def _shown(limit: int) -> str:
    return "unlimited" if limit == -1 else str(limit)
