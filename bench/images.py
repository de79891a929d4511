"""Images: pull and unpack beside podman's, a build beside buildah's, and what one more container costs of the disk.

Everything is served by docker-registry on loopback and stored below one temporary directory.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

from bench.figures import Asked, Table, at_most
from tests.registry import Layout, Registry, busybox_files, registry, tar_of

PYORCH = str(Path(sys.executable).parent / "pyorch")
LAYERS, MEGABYTES = 8, 400
STEPS = 20
KEPT = 100e3  # its description, its log and the directories of its writable layer: no copy of the image


def measure(table: Table) -> None:
    if missing := [tool for tool in ("busybox", "docker-registry", "skopeo") if not shutil.which(tool)]:
        print(f"\nimages are not measured: {', '.join(missing)} not installed")
        return
    directory = Path(tempfile.mkdtemp(prefix="pyorch-bench-"))
    table.head("images (the best of some runs)", "podman, buildah")
    try:
        with registry(directory / "registry") as hub:
            _pull(table, directory, hub)
        _build(table, directory)
        _fiftieth(table, directory)
    finally:
        _run(directory / "root", "agent", "stop", "--all", check=False)
        shutil.rmtree(directory)


def _pull(table: Table, directory: Path, hub: Registry) -> None:
    reference = hub.push(_large(directory / "large"), "large:1")
    ours, theirs, copied, memory = [], [], [], 0.0
    for turn in range(3):
        root = directory / f"pull-{turn}"
        _run(root, "agent", "start")
        with _Peak(root) as peak:
            ours.append(_seconds(_command(root, "image", "pull", "-q", reference)))
        memory = max(memory, peak.bytes)
        _run(root, "agent", "stop", "--all")
        shutil.rmtree(root)
        if shutil.which("podman"):
            podman = _podman(directory / f"podman-{turn}")
            theirs.append(_seconds([*podman, "pull", "-q", "--tls-verify=false", reference]))
            _take_away(podman, directory / f"podman-{turn}")
        copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{reference}", f"oci:{directory}/s{turn}:x"]
        copied.append(_seconds(copy))
        shutil.rmtree(directory / f"s{turn}")
    what = f"pull and unpack of {MEGABYTES} MB in {LAYERS} layers"
    note = f"skopeo copy, which unpacks nothing: {min(copied):.2f} s"
    table.line(what, Asked(min(theirs, default=None), "s"), min(ours), min(theirs, default=None), note=note)
    table.line("  the processes that pull (PSS, at most)", at_most(150e6, "MB"), memory)


def _build(table: Table, directory: Path) -> None:
    context = directory / "context"
    context.mkdir()
    Layout(directory / "base").add([tar_of(busybox_files())], {"Env": ["PATH=/bin"]})
    steps = [f"COPY file{n} /files/" if n % 2 else f"RUN echo {n} > /step{n}" for n in range(STEPS - 1)]
    for number in range(STEPS):
        (context / f"file{number}").write_bytes(random.Random(number).randbytes(200_000))
    (context / "Dockerfile").write_text("\n".join([f"FROM oci:{directory}/base", *steps]) + "\n")
    (directory / "stack.yaml").write_text("name: bench\nservices: {a: {build: ./context}}\n")
    root = directory / "root"
    _run(root, "agent", "start")
    build = [*_command(root), "-f", str(directory / "stack.yaml"), "build", "-q"]
    full = [_seconds([*build, "--no-cache"]) for _ in range(3)]
    again = [_seconds(build) for _ in range(5)]
    theirs, cached = [], []
    if shutil.which("buildah"):
        buildah = ["buildah", "--root", f"{directory}/b", "--runroot", f"{directory}/r"]
        # The host's network: with less work a step than one of its own, which needs netavark or CNI's plugins.
        line = [*_PLAIN_GROUPS, *buildah, "build", "--layers", "--network=host", "-q", "-t", "bench", str(context)]
        for _ in range(3):
            theirs.append(_seconds([*line[:-1], "--no-cache", line[-1]]))
        cached = [_seconds(line) for _ in range(3)]
        subprocess.run([*buildah, "rm", "--all"], check=False, capture_output=True)
        subprocess.run([*buildah, "rmi", "--all", "--force"], check=False, capture_output=True)
    limit = Asked(1.2 * min(theirs) if theirs else None, "s")
    table.line(f"build of {STEPS} steps, at most 1.2 times buildah's", limit, min(full), min(theirs, default=None))
    table.line("  the same, everything cached", at_most(0.5, "s"), min(again), min(cached, default=None))


def _fiftieth(table: Table, directory: Path) -> None:
    """Of the image that was just built."""
    root = directory / "root"
    stack = directory / "fifty.yaml"
    stack.write_text("name: fifty\nservices: {a: {image: bench-a, command: [/bin/sleep, '1000'], scale: 49}}\n")
    _run(root, "up", "-d", "--wait", str(stack))
    before = _disk(root)
    _run(root, "up", "-d", "--wait", "--scale", "a=50", str(stack))
    table.line("disk that the 50th container of an image takes", at_most(KEPT, "kB"), _disk(root) - before)
    _run(root, "-f", str(stack), "down", "-t", "0")


def _large(path: Path) -> Layout:
    """Layers as images have them: many small files and some large ones, half of it compressible."""
    chance = random.Random(7)
    layout = Layout(path)
    each = MEGABYTES * 1_000_000 // LAYERS
    layers = [tar_of(busybox_files())]
    for number in range(1, LAYERS):
        made, left = io.BytesIO(), each * LAYERS // (LAYERS - 1)
        with tarfile.open(fileobj=made, mode="w") as tar:
            while left > 0:
                size = min(chance.choice((2_000, 8_000, 40_000, 3_000_000)), left)
                info = tarfile.TarInfo(f"layer{number}/{left % 97}/file{left}")
                info.size = size
                content = chance.randbytes(size // 2) + b"some text that is often there " * (size // 60 + 1)
                tar.addfile(info, io.BytesIO(content[:size]))
                left -= size
        layers.append(made.getvalue())
    layout.add(layers, compress=lambda data: gzip.compress(data, 6))
    return layout


class _Peak:
    """The most memory that the image workers below a root take together, looked at all the time."""

    def __init__(self, root: Path) -> None:
        self._root, self.bytes, self._over = str(root), 0.0, threading.Event()

    def __enter__(self) -> _Peak:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.bytes = max(self.bytes, sum(map(_pss, _workers())))


def _workers() -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"image_worker" in Path("/proc", pid, "cmdline").read_bytes():
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _pss(pid: str) -> float:
    try:
        lines = Path("/proc", pid, "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


# crun, which buildah runs its steps with, refuses a machine whose cgroup v2 has controllers beside v1's ("hybrid").
_UNIFIED = Path("/sys/fs/cgroup/unified")
_PLAIN_GROUPS = ["unshare", "-m", "sh", "-c", f'umount {_UNIFIED}; exec "$@"', "sh"] if _UNIFIED.is_mount() else []


def _podman(directory: Path) -> list[str]:
    return ["podman", "--root", f"{directory}/root", "--runroot", f"{directory}/run", "--storage-driver=overlay"]


def _take_away(podman: list[str], directory: Path) -> None:
    """Its reset fails now and then (125: something of it was busy); what it has left is ours to clear away."""
    subprocess.run([*podman, "system", "reset", "--force"], check=False, capture_output=True)
    overlay = directory / "root/overlay"
    if overlay.is_mount():
        subprocess.run(["umount", "--lazy", str(overlay)], check=True)
    shutil.rmtree(directory, ignore_errors=True)


def _command(root: Path, *words: str) -> list[str]:
    return [PYORCH, "--root", str(root), *words]


def _run(root: Path, *words: str, check: bool = True) -> None:
    subprocess.run(_command(root, *words), check=check, capture_output=True)


def _seconds(line: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(line, check=True, capture_output=True)
    return time.perf_counter() - began


def _disk(root: Path) -> int:
    done = subprocess.run(["du", "-s", "--block-size=1", str(root)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])
