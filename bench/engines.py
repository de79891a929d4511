"""The engines side by side. They take the same commands and flags, which is the point of a common language."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Engine:
    """`command` begins every command line; `image` is what the stacks run."""

    name: str
    command: tuple[str, ...]
    image: str
    directory: Path
    wait: tuple[str, ...] = ("--wait",)

    def write(self, text: str) -> None:
        (self.directory / "stack.yaml").write_text(text)

    def run(self, *arguments: str) -> float:
        """Seconds of one whole command, from fork to exit."""
        line = [*self.command, "-f", str(self.directory / "stack.yaml"), *arguments]
        began = time.perf_counter()
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"{' '.join(line)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return seconds

    def up(self) -> float:
        return self.run("up", "-d", *self.wait)

    def down(self) -> float:
        return self.run("down")


def ours(directory: Path) -> Engine:
    os.environ["PYORCH_ROOT"] = str(directory / "root")
    return Engine("pyorch", (str(Path(sys.executable).parent / "pyorch"),), image(directory), directory)


def image(directory: Path) -> str:
    """The static busybox that the peers get too, as a root directory; where there is none, this machine's programs."""
    busybox = shutil.which("busybox")
    if not busybox:
        return "host:/"
    programs = directory / "busybox" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(busybox, programs / "busybox")
    for name in ("sh", "sleep", "true"):
        (programs / name).symlink_to("busybox")
    return f"dir:{programs.parent}"


def peers(directory: Path) -> list[Engine | str]:
    """The others, where they are installed and answer; else the name of what is missing."""
    return [
        _peer("docker compose", ("docker", "compose"), ("docker", "info"), directory, ("--wait",)),
        _peer("podman-compose", ("podman-compose",), ("podman", "info"), directory, ()),
    ]


def _peer(
    name: str, command: tuple[str, ...], probe: tuple[str, ...], directory: Path, wait: tuple[str, ...]
) -> Engine | str:
    if not all(shutil.which(tool) for tool in (command[0], probe[0])):
        return name
    if (
        subprocess.run(probe, capture_output=True).returncode
        or subprocess.run([*command, "version"], capture_output=True).returncode
    ):
        return name
    _import_image(probe[0])
    return Engine(name, command, "pyorch-bench:latest", directory, wait)


def _import_image(tool: str) -> None:
    """A static busybox as an image, so that nothing is downloaded."""
    busybox = shutil.which("busybox")
    if not busybox:
        raise RuntimeError("cannot measure the peers: a static busybox is needed (Debian: busybox-static)")
    script = f"""
        set -e; d=$(mktemp -d); trap 'rm -rf $d' EXIT; mkdir $d/bin; cp {busybox} $d/bin/busybox
        for name in sh sleep true; do ln -s busybox $d/bin/$name; done
        tar -C $d -c . | {tool} import - pyorch-bench:latest
    """
    subprocess.run(["sh", "-c", script], check=True, capture_output=True)


def stop(engine: Engine) -> None:
    """Our agent and all it looks after."""
    subprocess.run([*engine.command, "agent", "stop", "--all"], check=True, capture_output=True)


def processes(engine: Engine) -> dict[str, int]:
    """Our own processes: agent, launcher, dns → pid."""
    listed = subprocess.run(
        [*engine.command, "agent", "status", "--format", "json"], capture_output=True, text=True, check=True
    )
    status = json.loads(listed.stdout)
    return {"agent": status["pid"], "launcher": status["launcher"]["pid"], "dns": status["dns"]["pid"]}
