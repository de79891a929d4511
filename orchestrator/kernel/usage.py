"""What the processes of a control group are, and what they have used: for `top` and `stats`. proc(5)."""

from __future__ import annotations

import os
import pwd
import time
from contextlib import suppress
from typing import Any

from orchestrator.kernel.cgroups import Group

_TICKS = os.sysconf("SC_CLK_TCK")


def processes(group: Group, now: float) -> list[dict[str, Any]]:
    """A row for each process, as `ps -ef` shows them: UID, PID, PPID, C, STIME, TTY, TIME, CMD. `now`: wall clock."""
    with open("/proc/uptime", encoding="ascii") as file:
        boot = now - float(file.read().split()[0])
    rows = []
    for pid in group.processes():
        with suppress(OSError):  # it has just ended
            rows.append(_process(pid, boot, now))
    return rows


def _process(pid: int, boot: float, now: float) -> dict[str, Any]:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        head, _, tail = file.read().rpartition(")")
    fields = tail.split()
    with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
        words = cmdline.read().rstrip(b"\0").split(b"\0")
    spent = (int(fields[11]) + int(fields[12])) / _TICKS
    began = boot + int(fields[19]) / _TICKS
    lived = max(now - began, 1.0)
    command = b" ".join(words).decode(errors="replace") or f"[{head.partition('(')[2]}]"
    return {
        "UID": _user(os.stat(f"/proc/{pid}").st_uid),
        "PID": str(pid),
        "PPID": fields[1],
        "C": str(min(99, int(100 * spent / lived))),
        "STIME": time.strftime("%H:%M" if lived < 86400 else "%b%d", time.localtime(began)),
        "TTY": _terminal(int(fields[4])),
        "TIME": time.strftime("%H:%M:%S", time.gmtime(spent)),
        "CMD": command,
    }


def _user(uid: int) -> str:
    """As the host calls it; `ps` does the same."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _terminal(number: int) -> str:
    major, minor = os.major(number), os.minor(number)
    return f"pts/{minor}" if major == 136 else "?" if not number else f"{major}:{minor}"


def used(group: Group, pid: int) -> dict[str, int]:
    """Counters of a group since its birth, of the network by way of its first process, and of the disks by way of all
    its living ones. cpu in nanoseconds, the rest in bytes; `limit` 0: none."""
    memory, limit = group.memory()
    received, sent = _network(pid)
    read, written = _disks(group.processes())
    return {
        "cpu": group.cpu(),
        "memory": memory,
        "limit": limit,
        "pids": group.pids(),
        "received": received,
        "sent": sent,
        "read": read,
        "written": written,
    }


def _network(pid: int) -> tuple[int, int]:
    received = sent = 0
    with suppress(OSError), open(f"/proc/{pid}/net/dev", encoding="ascii") as lines:
        for line in list(lines)[2:]:
            name, _, counts = line.partition(":")
            if name.strip() != "lo":
                received, sent = received + int(counts.split()[0]), sent + int(counts.split()[8])
    return received, sent


def _disks(pids: list[int]) -> tuple[int, int]:
    read = written = 0
    for pid in pids:
        with suppress(OSError), open(f"/proc/{pid}/io", encoding="ascii") as lines:
            found = dict(line.split(": ") for line in lines)
            read, written = read + int(found["read_bytes"]), written + int(found["write_bytes"])
    return read, written
