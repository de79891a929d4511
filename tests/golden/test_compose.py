"""Stacks of one or more files and what `pyorch config` makes of them: NAME.txt holds the files and the answer.

A line "== WORD" begins a part: a file's name and its text; `options` of the command line; `environment` (NAME=value);
at last `is` (the YAML printed) or `error` (what is complained about). `python -m tests.golden.test_compose` writes the
answers anew; read the difference before you commit it.
"""

from __future__ import annotations

import pathlib
import re
import tempfile

import pytest

from orchestrator.cli.main import ordinary
from orchestrator.errors import Mistake
from orchestrator.stack import config
from orchestrator.stack.loader import Options
from orchestrator.stack.places import Complaints
from orchestrator.stack.project import Asked

FOLDER = pathlib.Path(__file__).parent / "compose"
CASES = sorted(FOLDER.glob("*.txt"))


def parts(case: pathlib.Path) -> dict[str, str]:
    pieces = re.split(r"^== (.+)\n", case.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def answer(case: pathlib.Path, room: pathlib.Path) -> tuple[str, str]:
    """("is" or "error", what is said)."""
    given = parts(case)
    for name, text in given.items():
        if name not in ("options", "environment", "is", "error"):
            (room / name).parent.mkdir(parents=True, exist_ok=True)
            (room / name).write_text(text, encoding="utf-8")
    options = ordinary(["config", *given.get("options", "").split()])
    assert options is not None
    asked = Asked(
        directory=str(room),
        environment=dict(line.split("=", 1) for line in given.get("environment", "HOME=/home/nobody").splitlines()),
        files=options.file,
        name=options.project_name or "shop",
        env_files=options.env_file,
        project_directory=options.project_directory,
        profiles=options.profile,
    )
    stages = Options(not options.no_interpolate, not options.no_normalize, True, not options.no_path_resolution)
    try:
        text = config.text(("", ""), asked, stages, Complaints(), options.only, format="yaml")
    except Mistake as mistake:
        return "error", f"{mistake}\n".replace(str(room), "<here>")
    return "is", text.replace(str(room), "<here>")


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_a_stack_is_understood_as_compose_understands_it(case: pathlib.Path, tmp_path: pathlib.Path) -> None:
    kind, said = answer(case, tmp_path)
    assert {kind: said} == {key: text for key, text in parts(case).items() if key in ("is", "error")}


if __name__ == "__main__":
    for case in CASES:
        with tempfile.TemporaryDirectory() as room:
            kind, said = answer(case, pathlib.Path(room).resolve())
        text = re.sub(r"^== (is|error)\n.*", "", case.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        case.write_text(f"{text}== {kind}\n{said}", encoding="utf-8")
