"""The door through which stack files are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import Mistake
from orchestrator.stack.load import load
from orchestrator.stack.reading import Reader

STACK = "services: {a: {image: 'host:/', command: 'true', env_file: [%s]}}\n"


def test_a_stack_says_every_file_it_was_read_from_or_looked_for(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(STACK % "a.env")
    (tmp_path / "a.env").write_text("X=1\n")
    stack = load(None, directory=str(tmp_path), environment={})
    assert {str(tmp_path / name) for name in ("stack.yaml", ".env", "a.env")} <= set(stack.inputs)


def test_a_confined_reader_does_not_follow_a_link_out(tmp_path: Path) -> None:
    inside = tmp_path / "checkout"
    inside.mkdir()
    (tmp_path / "secret.env").write_text("TOKEN=hidden\n")
    (inside / "a.env").symlink_to(tmp_path / "secret.env")
    (inside / "stack.yaml").write_text(STACK % "a.env")
    with pytest.raises(Mistake, match="outside") as refused:
        load(None, directory=str(inside), environment={}, reader=Reader(within=str(inside)))
    assert "hidden" not in str(refused.value)


def test_what_is_kept_encrypted_is_revealed_in_memory(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(STACK % "a.env")
    (tmp_path / "a.env").write_text("X=locked\n")
    reader = Reader(reveal=lambda path, data: data.replace(b"locked", b"open"))
    stack = load(None, directory=str(tmp_path), environment={}, reader=reader)
    assert stack.services["a"].environment == {"X": "open"}
