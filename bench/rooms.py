"""A room for an engine that is not installed here: a Debian root with its own namespaces, network and control groups.

The engine in it finds no trace of this machine's own network, mounts and groups, and leaves none there. Needs unshare
and nsenter (util-linux); `build` needs mmdebstrap. See room.sh for what happens inside.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    *("docker.io", "docker-cli", "docker-compose", "containerd", "runc", "iptables"),
    *("podman", "podman-compose", "netavark", "aardvark-dns", "crun", "conmon", "nftables"),
    *("busybox-static", "iproute2", "ca-certificates"),
)
SCRIPT = Path(__file__).with_name("room.sh")


@dataclass(frozen=True)
class Room:
    """`init`: host pid of its first process; `name`: of its control groups."""

    name: str
    init: int

    @property
    def enter(self) -> tuple[str, ...]:
        kinds = ("mount", "net", "pid", "uts", "ipc", "cgroup")
        return ("nsenter", f"--target={self.init}", *(f"--{kind}" for kind in kinds), "--")

    def processes(self) -> list[int]:
        """Host pids of all that run in it but not in containers: these have a pid namespace of their own."""
        here = os.readlink(f"/proc/{self.init}/ns/pid")
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _link(f"/proc/{pid}/ns/pid") == here]

    def running(self) -> set[int]:
        """Host pids of the containers' first processes: our stacks begin all with sh."""
        return {pid for pid in _grouped(self.name) if _name(pid) == "sh"}


def build(root: Path, suite: str = "trixie") -> None:
    """The peers as Debian has them, from the mirror that apt uses here."""
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian"]
    mirror = subprocess.run(targets, capture_output=True, text=True).stdout.split()[:1]
    line = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(root), *mirror]
    subprocess.run(line, check=True, stdout=sys.stderr)


@contextmanager
def room(root: Path, directory: Path, *command: str) -> Iterator[Room]:
    """`command` is its first process; with it ends everything inside. `root` is only read; `directory` is its /srv and
    holds its /var/lib."""
    name = f"pyorch-room-{os.getpid()}-{os.path.basename(command[0])}"
    spaces = ("--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL")
    line = ["unshare", *spaces, str(SCRIPT), name, str(root), str(directory), *command]
    outer = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield Room(name, _inner(outer))
    finally:
        outer.send_signal(signal.SIGKILL)
        outer.wait()
        _remove_groups(name)


def _inner(outer: subprocess.Popen[bytes]) -> int:
    """The child that unshare forked into the new pid namespace."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while outer.poll() is None:
        if found := children.read_text().split():
            return int(found[0])
    raise RuntimeError(f"cannot make a room for a peer: {outer.stderr.read().decode() if outer.stderr else ''}")


def _groups(name: str) -> list[Path]:
    """Directories of the room's groups, one a hierarchy."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        rows = [line.split() for line in mounts]
    return [
        Path(point, name) for _, point, kind, *_ in rows if kind in ("cgroup", "cgroup2") and Path(point, name).is_dir()
    ]


def _grouped(name: str) -> set[int]:
    """Pids in the groups below the room's own, which its engine and clients are in."""
    top = next(group for group in _groups(name) if group.parent.name in ("pids", "cgroup"))
    found: set[int] = set()
    for directory, _, files in os.walk(top):  # which goes on where a group is removed meanwhile
        if directory == str(top) or "cgroup.procs" not in files:
            continue
        try:
            found.update(map(int, Path(directory, "cgroup.procs").read_text().split()))
        except OSError:
            continue
    return found


def _remove_groups(name: str) -> None:
    """Their last processes were killed, and are gone in a moment."""
    deadline = time.monotonic() + 20
    for top in _groups(name):
        for directory, _, _ in os.walk(top, topdown=False):
            while True:
                try:
                    os.rmdir(directory)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:  # it has ended, or is nobody's business
        return None


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
