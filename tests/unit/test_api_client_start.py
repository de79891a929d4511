"""The agent that does not come up: its own last words are what the user reads."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from fake_agent import FakeAgent

from orchestrator.api.client import Client


@pytest.mark.root
def test_an_agent_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").touch()
    (tmp_path / "run").touch()
    ran = FakeAgent(tmp_path).pyorch("up", "-d", cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr == f"pyorch: cannot use {tmp_path}: File exists: {tmp_path}/run (see {tmp_path}/agent.log)\n"


def test_one_that_only_takes_connections_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(tmp_path / "api.sock"))
        dying.listen()
        closer = threading.Thread(target=lambda: dying.accept()[0].close())
        closer.start()
        assert not Client(str(tmp_path / "api.sock")).answers()
        closer.join()


@pytest.mark.root
def test_a_root_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").touch()
    (tmp_path / "file").touch()
    ran = FakeAgent(tmp_path / "file").pyorch("up", "-d", cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"pyorch: cannot use {tmp_path}/file: ")
