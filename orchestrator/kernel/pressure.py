"""How much a control group has needed, and how often it was kept waiting: peaks, throttling, pressure stalls.

Peaks: cgroup-v2 memory.peak (Linux 5.19) and v1 memory.max_usage_in_bytes count page cache too, which the kernel would
give back; so they are bounded from above by what is in use now and cannot be given back, where only that is known.
Pressure: Documentation/accounting/psi.rst, v2 only.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.kernel.cgroups import Group, hierarchy, read


def peak_memory(group: Group) -> int:
    """Bytes: the most that was ever in use, and at least what is in use now."""
    now, _ = group.memory()
    text = _text(group, "memory", "memory.max_usage_in_bytes", "memory.peak")
    return max(now, int(text) - _cache(group) if text else 0)


def throttled(group: Group) -> float:
    """The share of its periods in which it was kept from running by its cpu limit."""
    found = _table(_text(group, "cpu", "cpu.stat", "cpu.stat"))
    periods = found.get("nr_periods", 0)
    return found.get("nr_throttled", 0) / periods if periods else 0.0


def stalls(groups: Sequence[Group]) -> dict[str, float]:
    """The greatest share of the last minute in which some process waited for processor or memory; {} on v1."""
    found: dict[str, float] = {}
    for resource in ("cpu", "memory"):
        for group in groups:
            text = _text(group, resource, "", f"{resource}.pressure")
            some = next((line for line in text.splitlines() if line.startswith("some")), "")
            share = next((float(word[6:]) / 100 for word in some.split() if word.startswith("avg60=")), None)
            if share is not None:
                found[resource] = max(found.get(resource, 0.0), share)
    return found


def _cache(group: Group) -> int:
    """Bytes of files that the kernel could take back at once."""
    found = _table(_text(group, "memory", "memory.stat", "memory.stat"))
    return found.get("inactive_file", 0) if group.version == 2 else found.get("total_inactive_file", 0)


def _table(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _text(group: Group, controller: str, v1: str, v2: str) -> str:
    """A file of the group; "" where this kernel has none, or the group is gone."""
    file = v2 if group.version == 2 else v1
    point = group.directories.get("unified") or (hierarchy().v1.get(controller, "") + group.path)
    try:
        return read(f"{point}/{file}") if file else ""
    except OSError:
        return ""
