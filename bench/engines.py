"""The engines side by side. They take the same commands and flags, which is the point of a common language."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Engine:
    """`command` begins every command line; `image` is what the stacks run; `directory`, or what the engine sees of it
    as `seen`, holds the stack file.

    `pids` gives its own processes, those of clients and containers aside, `running` the containers' first ones; None:
    they cannot be told from others'."""

    name: str
    command: tuple[str, ...]
    image: str
    directory: Path
    pids: Callable[[], Collection[int]] | None = None
    running: Callable[[], set[int]] | None = None
    wait: tuple[str, ...] = ("--wait",)
    seen: Path | None = None
    environment: Mapping[str, str] | None = None
    runs: int = 3

    def write(self, text: str) -> None:
        (self.directory / "stack.yaml").write_text(text)

    def line(self, *arguments: str) -> list[str]:
        return [*self.command, "-f", str((self.seen or self.directory) / "stack.yaml"), *arguments]

    def run(self, *arguments: str) -> float:
        """Seconds of one whole command, from fork to exit."""
        line = self.line(*arguments)
        began = time.perf_counter()
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"{' '.join(line)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return seconds

    def up(self) -> float:
        return self.run("up", "-d", *self.wait)

    def down(self) -> float:
        return self.run("down")

    def memory(self) -> int:
        """PSS of its own processes, bytes. proc_pid_smaps(5): a page that several share counts in parts."""
        return sum(map(pss, self.pids())) if self.pids else 0


def ours(directory: Path) -> Engine:
    root = directory / "root"
    os.environ["PYORCH_ROOT"] = str(root)
    command = (str(Path(sys.executable).parent / "pyorch"),)
    return Engine(
        "pyorch", command, image(directory), directory, lambda: processes(command).values(), lambda: _running(root)
    )


def image(directory: Path) -> str:
    """The static busybox that the peers get too, as a root directory; where there is none, this machine's programs."""
    busybox = shutil.which("busybox")
    return f"dir:{busybox_root(directory / 'busybox', busybox)}" if busybox else "host:/"


def busybox_root(root: Path, busybox: str) -> Path:
    programs = root / "bin"
    programs.mkdir(parents=True)
    shutil.copy(busybox, programs / "busybox")
    for name in ("sh", "sleep", "true", "yes", "head", "mkdir", "httpd"):
        (programs / name).symlink_to("busybox")
    return root


def stop(engine: Engine) -> None:
    """Our agent and all it looks after."""
    subprocess.run([*engine.command, "agent", "stop", "--all"], check=True, capture_output=True)


def processes(command: tuple[str, ...]) -> dict[str, int]:
    """Our own processes: agent, launcher, dns → pid."""
    listed = subprocess.run(
        [*command, "agent", "status", "--format", "json"], capture_output=True, text=True, check=True
    )
    status = json.loads(listed.stdout)
    return {"agent": status["pid"], "launcher": status["launcher"]["pid"], "dns": status["dns"]["pid"]}


def _running(root: Path) -> set[int]:
    pids = set()
    for file in (root / "run" / "bundles").glob("*/state.json"):
        try:
            state = json.loads(file.read_text())
        except FileNotFoundError:
            continue
        if state["status"] == "running":
            pids.add(state["pid"])
    return pids


def pss(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) * 1024 if found else 0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
