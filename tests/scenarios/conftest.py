"""An agent of the test's own, real from end to end, and the proof that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.root import Root
from tests.scenarios import leaks

COMMAND = str(Path(sys.executable).parent / "pyorch")


PATIENCE = float(os.environ.get("PYORCH_PATIENCE", "1"))  # how many times longer than usual a test waits for anything


class Pyorch:
    """The command line, pointed at a root of its own. `directory` holds the stack files of the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = Root(str(directory / "root"))
        self.environment = os.environ | {"PYORCH_ROOT": self.root.directory, "NO_COLOR": "1"}

    def command(self, *arguments: str) -> list[str]:
        """For tests that hold the process themselves: with `environment` and `directory`."""
        return [COMMAND, *arguments]

    def run(self, *arguments: str, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
        """One whole command, ended one way or the other. `options` are those of subprocess.run."""
        settings: dict[str, Any] = {"env": self.environment, "cwd": self.directory, "stdin": subprocess.DEVNULL}
        if "input" in options:
            del settings["stdin"]
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=timeout * PATIENCE, **settings | options
        )

    def ok(self, *arguments: str, **options: Any) -> str:
        """What it wrote on stdout; it must end with 0."""
        done = self.run(*arguments, **options)
        assert done.returncode == 0, f"pyorch {' '.join(arguments)} → {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def lines(self, *arguments: str) -> list[Any]:
        """Commands that print one JSON value a line."""
        return [json.loads(line) for line in self.ok(*arguments).splitlines()]

    def write(self, text: str, name: str = "stack.yaml") -> Path:
        """A stack file, indented as it stands in the test."""
        file = self.directory / name
        file.write_text(textwrap.dedent(text))
        return file

    def up(self, text: str, *flags: str, **options: Any) -> str:
        """The stack of this text, up and ready."""
        self.write(text)
        return self.ok("up", "-d", "--wait", *flags, "stack.yaml", **options)

    def ps(self) -> dict[str, dict[str, Any]]:
        """All containers of ./stack.yaml by name, ended ones too."""
        return {row["Name"]: row for row in self.lines("ps", "-a", "--format", "json")}

    def status(self) -> dict[str, Any]:
        """`agent status`: with the pids of agent, launcher and dns."""
        found: dict[str, Any] = json.loads(self.ok("agent", "status", "--format", "json"))
        return found

    def bundle(self, container: str) -> Path:
        """The bundle of the container of this name."""
        for record in Path(self.root.bundles).glob("*/container.json"):
            if json.loads(record.read_text())["name"] == container:
                return record.parent
        raise AssertionError(f"no bundle of {container}")

    def pid(self, container: str) -> int:
        """The host's pid of its first process."""
        return int(json.loads((self.bundle(container) / "state.json").read_text())["pid"])

    def until(self, fact: Callable[[], Any], seconds: float = 20) -> Any:
        """Look until `fact()` is true and return it: what is waited for is a fact, never a time."""
        deadline = time.monotonic() + seconds * PATIENCE
        while not (found := fact()):
            assert time.monotonic() < deadline, f"still not so after {seconds} s"
            time.sleep(0.02)
        return found

    def take_down(self) -> None:
        """Every stack, whatever the test has done to the agent; then the agent itself."""
        self.run("agent", "start")
        for stack in self.lines("ls", "--all", "--format", "json"):
            for row in stack if isinstance(stack, list) else [stack]:
                self.ok("-p", row["Name"], "down", "-v", "-t", "1")


@pytest.fixture
def pyorch(request: pytest.FixtureRequest) -> Iterator[Pyorch]:
    """An agent for one test."""
    with agent_of_its_own(lambda name, text: request.node.add_report_section("teardown", name, text)) as mine:
        yield mine


@contextlib.contextmanager
def agent_of_its_own(report: Callable[[str, str], None], make: Callable[[Path], Pyorch] = Pyorch) -> Iterator[Pyorch]:
    """Everything is taken down afterwards; what is left of the containers then fails the test."""
    directory = Path(tempfile.mkdtemp(prefix="pyorch-"))  # short: the path of a Unix socket has 107 bytes
    mine = make(directory)
    before = leaks.snapshot(mine.root)
    try:
        yield mine
        mine.take_down()
        assert not leaks.lasting(mine.root, before)
    finally:
        for log in sorted([*Path(mine.root.run).glob("*.log"), *Path(mine.root.state).glob("*.log")]):
            report(log.name, log.read_text(errors="replace")[-20_000:])
        mine.run("agent", "stop", "--all")
        shutil.rmtree(directory)
