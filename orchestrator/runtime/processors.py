"""The processors of this machine, by their numbers. cpuset(7), "List format"."""

from __future__ import annotations

from orchestrator.errors import Missing

_ONLINE = "/sys/devices/system/cpu/online"


def must_be_there(cpuset: str) -> None:
    """Raises Missing where `cpuset` ("0-2,5") names one that is not: control groups of version 2 would take it in
    silence, and let the container run on all."""
    if not cpuset:
        return
    with open(_ONLINE, encoding="ascii") as file:
        online = file.read().strip()
    if strange := sorted(numbers(cpuset) - numbers(online)):
        raise Missing(f"cannot keep it on processors {cpuset}: this machine has {online}, and no {strange[0]}")


def numbers(cpuset: str) -> set[int]:
    found: set[int] = set()
    for part in cpuset.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), min(int(last or first), 1 << 16) + 1))
    return found
