"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def facts() -> list[str]:
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])  # type: ignore[index]
    load = " ".join(Path("/proc/loadavg").read_text().split()[:3])
    cgroups = "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1"
    return [
        f"cpu      {os.cpu_count()} × {processor[1] if processor else platform.machine()}",
        f"memory   {memory / 2**20:.1f} GiB",
        f"kernel   {platform.release()}, cgroup {cgroups}",
        f"python   {platform.python_version()}",
        f"load     {load} before the run",
    ]
