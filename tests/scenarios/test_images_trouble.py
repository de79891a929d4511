"""Disks that run full and processes that are killed while images and volumes are made; and what is said of the disk."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.registry import busybox_image, needs_registry, tar_of
from tests.scenarios.conftest import Pyorch

pytestmark = needs_registry


@contextlib.contextmanager
def small_store(pyorch: Pyorch, size: str) -> Iterator[Callable[[str], None]]:
    """The store of images on a disk of its own; what is given makes it larger."""
    store = pyorch.root.images
    os.makedirs(store)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", store], check=True)
    try:
        yield lambda size: _quietly("mount", "-o", f"remount,size={size}", store)
    finally:
        pyorch.run("agent", "stop", "--all")
        _quietly("umount", store)


def _quietly(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def names(pyorch: Pyorch) -> list[str]:
    return sorted(row["Repository"] for row in pyorch.lines("image", "ls", "-a", "--format", "json"))


def half_made(pyorch: Pyorch) -> list[str]:
    """What is on its way into the store, as far as nobody could go on with it."""
    return [name for name in os.listdir(Path(pyorch.root.images, "ingest")) if not name.endswith(".part")]


def built(pyorch: Pyorch, *steps: str) -> subprocess.CompletedProcess[str]:
    lines = "".join(f"\\n{step}" for step in steps)
    base = f"FROM oci:{pyorch.directory}/base"
    pyorch.write(
        f'name: b\nservices: {{a: {{image: built, build: {{context: ./ctx, dockerfile_inline: "{base}{lines}"}}}}}}\n'
    )
    return pyorch.run("build", "--progress", "plain")


def test_a_full_disk_in_the_middle_of_a_load_or_a_build_is_said_and_the_store_is_whole(
    pyorch: Pyorch, tmp_path: Path
) -> None:
    busybox_image(pyorch.directory / "base")
    busybox_image(tmp_path / "large", [tar_of({f"{number}": noise(number, 3_000_000) for number in range(8)})])
    for kind in ("docker-archive", "oci-archive"):
        copy = ("skopeo", "copy", "-q", "--insecure-policy", f"oci:{tmp_path}/large:latest")
        _quietly(*copy, f"{kind}:{tmp_path}/{kind}.tar:large:1")
    (pyorch.directory / "ctx").mkdir()
    (pyorch.directory / "ctx/large").write_bytes(noise(9, 40_000_000))
    (pyorch.directory / "ctx/half").write_bytes(noise(9, 20_000_000))  # there is room for it, but not for its archive
    with small_store(pyorch, "32m") as make_larger:
        for kind in ("docker-archive", "oci-archive"):
            done = pyorch.run("image", "load", "-i", f"{tmp_path}/{kind}.tar")
            assert done.returncode == 1
            assert f"cannot load {tmp_path}/{kind}.tar: there is no room left on the disk" in done.stderr
            assert names(pyorch) == half_made(pyorch) == []
            pyorch.ok("image", "prune", "-f")
        first = "RUN echo first > /first"
        for step in ("COPY large /", "COPY half /", "RUN head -c 60000000 /dev/zero | cat > /zeros"):
            done = built(pyorch, first, step)
            assert done.returncode == 1, done.stderr
            assert "no room left on the disk" in done.stderr or "No space left on device" in done.stderr
            assert names(pyorch) == [f"oci:{pyorch.directory}/base"]
            assert half_made(pyorch) == []
        again = built(pyorch, first)
        assert again.returncode == 0, again.stderr
        assert "CACHED" in again.stderr, "what was made before the disk was full is whole"
        make_larger("200m")
        pyorch.ok("image", "load", "-i", f"{tmp_path}/docker-archive.tar")
        assert built(pyorch, first, "COPY large /", "COPY half /").returncode == 0
        assert names(pyorch) == ["<none>", "built", "large", f"oci:{pyorch.directory}/base"]


def killed_at(pyorch: Pyorch, sign: Callable[[], object], *command: str) -> None:
    """SIGKILL to the agent once there is a sign that it is about the command; another one runs afterwards."""
    agent = pyorch.status()["agent"]["pid"]
    with subprocess.Popen(
        pyorch.command(*command), env=pyorch.environment, cwd=pyorch.directory, stderr=subprocess.DEVNULL
    ) as running:
        pyorch.until(lambda: sign() or running.poll() is not None)
        os.kill(agent, signal.SIGKILL)
    pyorch.ok("agent", "start")


def test_an_agent_killed_in_a_load_a_backup_a_restore_or_a_clone_leaves_all_or_nothing(
    pyorch: Pyorch, tmp_path: Path
) -> None:
    busybox_image(tmp_path / "large", [tar_of({f"{number}": noise(number, 8_000_000) for number in range(6)})])
    archive = pyorch.directory / "large.tar"
    _quietly("skopeo", "copy", "-q", "--insecure-policy", f"oci:{tmp_path}/large", f"docker-archive:{archive}:large:1")
    pyorch.ok("agent", "start")
    pyorch.ok("volume", "create", "data")
    for number in range(40):
        Path(pyorch.root.volumes, "data/_data", str(number)).write_bytes(noise(number, 2_000_000))
    ingest, backups = Path(pyorch.root.images, "ingest"), pyorch.directory / "backups"
    backups.mkdir()
    pyorch.ok("volume", "backup", "data", "whole.tar.zst")
    for _ in range(2):
        killed_at(pyorch, lambda: ingest.is_dir() and os.listdir(ingest), "image", "load", "-i", str(archive))
        assert names(pyorch) in ([], ["large"])
        pyorch.ok("image", "load", "-i", str(archive))
        assert half_made(pyorch) == []
        pyorch.ok("image", "rm", "large:1")
        pyorch.ok("image", "prune", "-af")
        (row,) = [row for row in pyorch.lines("system", "df", "--format", "json") if row["Type"] == "Images"]
        assert row["Size"] == "0B"
        killed_at(pyorch, lambda: os.listdir(backups), "volume", "backup", "data", "backups/now.tar.zst")
        pyorch.ok("volume", "backup", "data", "backups/now.tar.zst")
        assert os.listdir(backups) == ["now.tar.zst"]
        (backups / "now.tar.zst").unlink()
        for command in (("restore", "copy", "whole.tar.zst"), ("clone", "data", "copy")):
            killed_at(pyorch, lambda: len(os.listdir(pyorch.root.volumes)) > 1, "volume", *command)
            if "copy" not in pyorch.ok("volume", "ls", "-q").split():
                pyorch.ok("volume", *command)
            _quietly("diff", "-r", f"{pyorch.root.volumes}/data/_data", f"{pyorch.root.volumes}/copy/_data")
            pyorch.ok("volume", "rm", "copy")
            assert os.listdir(pyorch.root.volumes) == ["data"]


def test_what_is_said_of_the_disk_is_what_du_says(pyorch: Pyorch) -> None:
    """With files that are sparse, and files of several names: in layers, in the build cache and in a volume."""
    busybox_image(pyorch.directory / "base")
    (pyorch.directory / "ctx").mkdir()
    make = "head -c 3000000 /dev/urandom > one && busybox ln one two && busybox truncate -s 200000000 sparse"
    done = built(
        pyorch,
        f"RUN mkdir /d && cd /d && {make}",
        f"RUN --mount=type=cache,target=/c cd /c && {make}",
        "RUN echo > /d/two",
    )
    assert done.returncode == 0, done.stderr
    pyorch.up(f"""
        name: v
        services:
          a:
            image: built
            entrypoint: [/bin/sh, -c, "cd /v; {make}; touch done; exec sleep 1000"]
            volumes: ["data:/v"]
            healthcheck: {{test: [CMD, test, -e, /v/done], interval: 1s}}
        volumes: {{data: {{}}}}
    """)
    rows = {row["Type"]: size(row["Size"]) for row in pyorch.lines("system", "df", "--format", "json")}
    assert rows["Images"] + rows["Build Cache"] == pytest.approx(du(pyorch.root.images), rel=0.02)
    assert rows["Local Volumes"] == pytest.approx(du(pyorch.root.volumes), rel=0.02)


def size(text: str) -> float:
    """Bytes of "3.05MB"."""
    units = {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1}
    unit = next(unit for unit in units if text.endswith(unit))
    return float(text.removesuffix(unit)) * units[unit]


def du(path: str) -> int:
    done = subprocess.run(["du", "-s", "--block-size=1", path], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])
