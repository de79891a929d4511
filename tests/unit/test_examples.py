"""Every example is a stack without mistakes or warnings."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.stack.load import load

EXAMPLES = sorted(Path(__file__).resolve().parents[2].glob("examples/*/stack.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_an_example_loads(file: Path) -> None:
    stack = load([str(file)], directory=str(file.parent), environment={})
    assert stack.services
    assert stack.warnings == ()
