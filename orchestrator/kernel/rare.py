"""Controllers that few containers need: which processors (cpuset), and how much of which disk (blkio; v2: io). Pure.

Their groups are made where they are asked for: one hierarchy more would cost every birth. An OCI `linux.resources`
becomes files and what is written into them, line by line.
Documentation/admin-guide/cgroup-v1/{cpusets,blkio-controller}.rst, cgroup-v2.rst.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Rows = list[tuple[str, str]]

CONTROLLERS = {"cpuset": "cpuset", "blkio": "io"}  # their names on v1 and on v2
_RATES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)


def asked(resources: Mapping[str, Any]) -> tuple[str, ...]:
    """Which of them, by their v1 names."""
    needed = ("cpuset", (resources.get("cpu") or {}).get("cpus")), ("blkio", resources.get("blockIO"))
    return tuple(name for name, wanted in needed if wanted)


def v1(resources: Mapping[str, Any], memory_nodes: str) -> Rows:
    """`memory_nodes`: those of the parent; without any a group takes no process."""
    rows: Rows = []
    if cpus := (resources.get("cpu") or {}).get("cpus"):
        rows += [("cpuset.mems", memory_nodes), ("cpuset.cpus", cpus)]
    block = resources.get("blockIO") or {}
    if block.get("weight"):
        rows.append(("blkio.weight", str(block["weight"])))
    rows += [("blkio.weight_device", f"{_number(row)} {row['weight']}") for row in block.get("weightDevice", ())]
    for key, file, _ in _RATES:
        rows += [(file, f"{_number(row)} {row['rate']}") for row in block.get(key, ())]
    return rows


def v2(resources: Mapping[str, Any]) -> Rows:
    rows: Rows = []
    if cpus := (resources.get("cpu") or {}).get("cpus"):
        rows.append(("cpuset.cpus", cpus))
    block = resources.get("blockIO") or {}
    if block.get("weight"):
        rows.append(("io.weight", f"default {_weight(block['weight'])}"))
    rows += [("io.weight", f"{_number(row)} {_weight(row['weight'])}") for row in block.get("weightDevice", ())]
    for key, _, word in _RATES:
        rows += [("io.max", f"{_number(row)} {word}={row['rate']}") for row in block.get(key, ())]
    return rows


def _weight(weight: int) -> int:
    """10 … 1000 as 1 … 10000, as the OCI runtimes do it."""
    return 1 + (weight - 10) * 9999 // 990


def _number(row: Mapping[str, Any]) -> str:
    return f"{row['major']}:{row['minor']}"
