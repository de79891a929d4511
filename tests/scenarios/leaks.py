"""What an agent's containers have on the host, read from the kernel and not from the agent: for before and after."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.network import firewall
from orchestrator.root import Root

PROC = Path("/proc")


def snapshot(root: Root) -> frozenset[str]:
    """A line for each process, namespace, mount, cgroup, link and nft table of the containers and networks of `root`.

    The three processes of the agent itself are no container's; what they hold open of containers is in the list.
    """
    return frozenset(
        [*_processes(root), *_held_namespaces(root), *_mounts(root), *_cgroups(root), *_links(root), *_tables(root)]
    )


def lasting(root: Root, before: frozenset[str], seconds: float = 5) -> frozenset[str]:
    """What is there and was not before, and does not go away: the kernel takes namespaces apart after the fact."""
    deadline = time.monotonic() + seconds
    while (left := snapshot(root) - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _processes(root: Root) -> Iterator[str]:
    """By cgroup: whatever a container has forked is in one below ours. With the namespaces these processes live in."""
    for process in _pids():
        if f"/{root.cgroup}/" in _read(process / "cgroup"):
            yield f"process {process.name}: {_command(process)}"
            yield from (f"namespace {_link(process / 'ns' / kind)}" for kind in ("net", "mnt", "pid"))


def _held_namespaces(root: Root) -> Iterator[str]:
    """Namespaces that outlive their processes because one of ours forgot a descriptor; the host's own are no leak."""
    hosts = {_link(kind) for kind in _children(PROC / "self/ns")}
    for process in _pids():
        if root.directory in _command(process) and "orchestrator" in _command(process):
            for descriptor in _children(process / "fd"):
                held = _link(descriptor)
                if re.match(r"(net|mnt|pid|ipc|uts|cgroup):\[", held) and held not in hosts:
                    yield f"namespace {held} held by {process.name}"


def _mounts(root: Root) -> Iterator[str]:
    """All but RUN itself, which is the agent's and lies in memory."""
    for line in _read(PROC / "self/mountinfo").splitlines():
        point = line.split(" ")[4]
        if (f"{root.directory}/" in line or f" {root.run}/" in line) and point != root.run:
            yield f"mount {point}"


def _cgroups(root: Root) -> Iterator[str]:
    """Below our parent group; the parents themselves stay as long as the agent."""
    for line in _read(PROC / "self/mountinfo").splitlines():
        fields = line.split(" ")
        if " - cgroup" in line:
            for group in _children(Path(fields[4]) / root.cgroup):
                if group.is_dir():
                    yield f"cgroup {group}"


def _links(root: Root) -> Iterator[str]:
    """Our bridges, what hangs on them, and host ends of containers that hang on nothing."""
    for link in _children(Path("/sys/class/net")):
        master = os.path.basename(_link(link / "master"))
        orphan = re.fullmatch(r"po[0-9a-f]{10}\d+", link.name) and not master
        if link.name.startswith(root.bridge(0)[:-1]) or master.startswith(root.bridge(0)[:-1]) or orphan:
            yield f"link {link.name}"


def _tables(root: Root) -> Iterator[str]:
    if not shutil.which("nft"):
        if firewall.present(root.table):
            yield f"table {root.table}"
        return
    listed = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, text=True, check=True).stdout
    for entry in json.loads(listed)["nftables"]:
        if entry.get("table", {}).get("name") == root.table:
            yield f"table {root.table}"


def _pids() -> Iterator[Path]:
    return (path for path in PROC.iterdir() if path.name.isdigit())


def _command(process: Path) -> str:
    return _read(process / "cmdline").replace("\0", " ").strip()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it has ended while we looked
        return ""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _children(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []
