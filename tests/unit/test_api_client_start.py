"""The agent that does not come up: its own last words are what the user reads."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from fake_agent import FakeAgent


@pytest.mark.root
def test_an_agent_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").touch()
    with open(tmp_path / "agent.lock", "w") as lock:
        lock.write("123")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = FakeAgent(tmp_path).pyorch("up", "-d", cwd=tmp_path)
    log = tmp_path / "agent.log"
    assert ran.returncode == 1
    assert ran.stderr == f"pyorch: cannot run the agent: another one (pid 123) has {tmp_path} (see {log})\n"


@pytest.mark.root
def test_a_root_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").touch()
    (tmp_path / "file").touch()
    ran = FakeAgent(tmp_path / "file").pyorch("up", "-d", cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"pyorch: cannot use {tmp_path}/file: ")
