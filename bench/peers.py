"""Docker Compose and podman-compose beside us: as they are installed here, or each in a room of a Debian root.

They run what we run, a static busybox that is imported: nothing is pulled. In a room, figures of whole commands hold
nsenter's millisecond.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import rooms
from bench.engines import Engine, busybox_root

IMAGE = "pyorch-bench:latest"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
}


@dataclass(frozen=True)
class Peer:
    """`tool` takes images; `daemon` is the first process of its room; `wait`: how `up` waits for what it starts."""

    name: str
    command: tuple[str, ...]
    tool: str
    daemon: tuple[str, ...]
    wait: tuple[str, ...]
    runs: int


PEERS = (
    Peer("docker compose", ("docker", "compose"), "docker", ("dockerd", "--log-level=error"), ("--wait",), 3),
    # A minute for each `up` of a hundred: once is enough.
    Peer("podman-compose", ("podman-compose",), "podman", ("sleep", "infinity"), (), 1),
)


@contextmanager
def beside(directory: Path, where: str | None) -> Iterator[list[Engine | str]]:
    """For each peer its engine, or a sentence that says why there is none. `where`: a directory with a Debian root that
    has them (rooms.PACKAGES); "1": one is made below `directory`; None or empty: what is installed here."""
    with ExitStack() as stack:
        if not where:
            yield [_installed(peer, directory) for peer in PEERS]
            return
        root = Path(where)
        if where == "1":
            root = directory / "debian"
            try:
                rooms.build(root)
            except (OSError, subprocess.CalledProcessError) as error:
                yield [f"{peer.name} is not measured: cannot make a Debian root for it: {error}" for peer in PEERS]
                return
        yield [_in_room(peer, root, directory / peer.tool, stack) for peer in PEERS]


def _installed(peer: Peer, directory: Path) -> Engine | str:
    """It may look after others' containers too: commands are timed, but no process is counted and none killed."""
    missing = [tool for tool in dict.fromkeys((peer.command[0], peer.tool)) if not shutil.which(tool)]
    if missing:
        return f"{peer.name} is not measured: {' and '.join(missing)} not installed (PEERS=1 makes a room for it)"
    for probe in ((peer.tool, "info"), (*peer.command, "version")):
        if why := _failure(probe, None):
            return f"{peer.name} is not measured: {' '.join(probe)}: {why} (PEERS=1 makes a room for it)"
    own = directory / peer.tool
    own.mkdir()
    _import_image((peer.tool,), own)
    return Engine(peer.name, peer.command, IMAGE, own, wait=peer.wait, runs=peer.runs)


def _in_room(peer: Peer, root: Path, own: Path, stack: ExitStack) -> Engine | str:
    own.mkdir()
    room = stack.enter_context(rooms.room(root, own, *peer.daemon))
    tool = (*room.enter, peer.tool)
    deadline = time.monotonic() + 60
    while why := _failure((*tool, "info"), ENVIRONMENT):
        if time.monotonic() > deadline:
            return f"{peer.name} is not measured: {peer.tool} info in {root}: {why}"
        time.sleep(0.2)
    _import_image(tool, own, ENVIRONMENT)
    return Engine(
        peer.name,
        (*room.enter, *peer.command),
        IMAGE,
        own,
        pids=room.processes,
        running=room.running,
        seen=Path("/srv"),
        environment=ENVIRONMENT,
        wait=peer.wait,
        runs=peer.runs,
    )


def _failure(probe: tuple[str, ...], environment: Mapping[str, str] | None) -> str:
    """The last line of what it says when it fails, else nothing."""
    done = subprocess.run(probe, capture_output=True, text=True, env=environment)
    said = (done.stderr or done.stdout).strip().splitlines()[-1:]
    return (" ".join(said) or f"ended with {done.returncode}") if done.returncode else ""


def _import_image(tool: tuple[str, ...], directory: Path, environment: Mapping[str, str] | None = None) -> None:
    busybox = shutil.which("busybox")
    if not busybox:
        raise RuntimeError("cannot measure the peers: a static busybox is needed (Debian: busybox-static)")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(busybox_root(directory / "busybox", busybox), arcname=".")
    line = [*tool, "import", "-", IMAGE]
    subprocess.run(line, input=packed.getvalue(), check=True, capture_output=True, env=environment)
