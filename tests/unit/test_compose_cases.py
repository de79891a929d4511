"""The recorded cases of public projects and suites, against what docker compose made of them.

They lie beside a checkout (../shared, or $PYORCH_SHARED), with the program that says what counts as equal.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.stack import config
from orchestrator.stack.loader import Options
from orchestrator.stack.places import Complaints
from orchestrator.stack.project import Asked

SHARED = pathlib.Path(os.environ.get("PYORCH_SHARED") or pathlib.Path(__file__).parents[3] / "shared")
CASES = SHARED / "compose-cases"
TOOL = SHARED / "tools" / "compose_conformance.py"
LISTS = ("services", "networks", "volumes", "images", "profiles", "variables", "environment")
# Where docker compose is wrong by the Specification's own text: docs/compose.md says why.
DISAGREED = {"go-inline/TestResetCycle-3-1f77fb"}

pytestmark = pytest.mark.skipif(not TOOL.is_file(), reason=f"the recorded cases are not here ({SHARED})")


def _tool() -> Any:
    spec = importlib.util.spec_from_file_location("compose_conformance", TOOL)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _categories() -> list[str]:
    return sorted(folder.name for folder in CASES.iterdir() if folder.is_dir()) if CASES.is_dir() else []


@pytest.mark.parametrize("category", _categories())
def test_recorded_cases_mean_what_docker_compose_makes_of_them(category: str, tmp_path: pathlib.Path) -> None:
    tool = _tool()
    wrong = {
        meta["id"]: why
        for number, (folder, meta) in enumerate(_cases(category))
        if (why := _reasons(tool, folder, meta, tmp_path / str(number)))
    }
    assert {name: why[:3] for name, why in wrong.items() if name not in DISAGREED} == {}


def _cases(category: str) -> Iterator[tuple[pathlib.Path, dict[str, Any]]]:
    for file in sorted((CASES / category).glob("*/case.json")):
        yield file.parent, json.loads(file.read_text(encoding="utf-8"))


def _reasons(tool: Any, folder: pathlib.Path, meta: dict[str, Any], room: pathlib.Path) -> list[str]:
    """Why the case does not pass; nothing where it does."""
    root = room.joinpath(*(f"u{level}" for level in range(tool.UPS, 0, -1)), "case")
    case = meta["case"]
    shutil.copytree(folder / "in", root)
    for name in case.get("dirs", ()):
        (root / name).mkdir(parents=True, exist_ok=True)
    directory = pathlib.Path(os.path.normpath(root / case.get("cwd", ".")))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        text = _printed(case, directory, tool.BASE_ENV)
    except OrchestratorError as error:
        return [] if meta["kind"] == "error" else [str(error)]
    if meta["kind"] == "error":
        return ["it is accepted"]
    for level, place in enumerate((root, *root.parents)):
        if level <= tool.UPS + 1:
            text = text.replace(str(place), f"<UP{level}>" if level else "<DIR>")
    if meta["kind"] == "text":
        want, got = ({*filter(None, map(str.rstrip, t.splitlines()))} for t in (_read(folder / "expected.txt"), text))
        return sorted(want - got if "--environment" in case.get("flags", ()) else want ^ got)
    return [*tool.diffs(tool.canon(json.loads(_read(folder / "expected.json"))), tool.canon(json.loads(text)))]


def _read(file: pathlib.Path) -> str:
    return file.read_text(encoding="utf-8")


def _printed(case: dict[str, Any], directory: pathlib.Path, environment: dict[str, str]) -> str:
    """What `pyorch config --format json` prints."""
    flags = case.get("flags", ())
    asked = Asked(
        directory=str(directory),
        environment={**environment, "PWD": str(directory), **case.get("env", {})},
        files=case.get("files", ()),
        name=case.get("project"),
        env_files=case.get("env_files", ()),
        project_directory=case.get("project_directory"),
        profiles=case.get("profiles", ()),
    )
    options = Options(
        interpolate="--no-interpolate" not in flags,
        normalize="--no-normalize" not in flags,
        consistency="--no-consistency" not in flags,
        resolve_paths="--no-path-resolution" not in flags,
        resolve_env="--services" not in flags,
    )
    wanted = next(((word, "") for word in LISTS if f"--{word}" in flags), ("", ""))
    services = [flag for flag in flags if not flag.startswith("-")]
    return config.text(wanted, asked, options, Complaints(), services, format="json")
