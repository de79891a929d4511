"""Broken node files and what is said about them: nodes/NAME.yaml → NAME.txt. A new case is a new pair of files.

`python tests/golden/test_node_messages.py` writes the texts anew; read the difference before you commit it.
"""

from __future__ import annotations

import pathlib

import pytest

from orchestrator.errors import Mistake
from orchestrator.stack.nodes import read

FOLDER = pathlib.Path(__file__).parent / "nodes"
CASES = sorted(FOLDER.glob("*.yaml"))


def said(file: pathlib.Path) -> str:
    with pytest.raises(Mistake) as caught:
        read(str(file), str(FOLDER), {})
    return f"{caught.value}\n".replace(str(FOLDER), "<here>")


@pytest.mark.parametrize("file", CASES, ids=[case.stem for case in CASES])
def test_a_broken_node_file_is_explained(file: pathlib.Path) -> None:
    assert said(file) == file.with_suffix(".txt").read_text(encoding="utf-8")


if __name__ == "__main__":
    for case in CASES:
        case.with_suffix(".txt").write_text(said(case), encoding="utf-8")
