"""Which project is meant: its files, directory, variables and name, from options, environment and what lies around."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.errors import Mistake
from orchestrator.record import frozen
from orchestrator.stack import variables
from orchestrator.stack.files import NAMES, find_all
from orchestrator.stack.interpolation import Malformed, interpolate
from orchestrator.stack.loader import Loader
from orchestrator.stack.parse import scalar_of
from orchestrator.stack.places import Place, Source

_NAMES = "lower-case letters, digits, '-' and '_', beginning with a letter or a digit"
_NAME = r"[a-z0-9][a-z0-9_-]*"


@frozen
class Project:
    """`directory`: absolute, where relative paths start. `variables`: the caller's over those of `env_files`."""

    name: str
    directory: str
    files: tuple[str, ...]
    variables: Mapping[str, str]
    env_files: tuple[str, ...] = ()  # where they come from besides the caller, later ones winning


@frozen
class Asked:
    """What the caller said: options, environment, and the directory they stand in (absolute)."""

    directory: str
    environment: Mapping[str, str]
    files: Sequence[str] = ()
    name: str | None = None
    env_files: Sequence[str] = ()
    project_directory: str | None = None
    profiles: Sequence[str] = ()


def locate(asked: Asked, loader: Loader) -> Project:
    """Find the project. Raises Mistake where there is no file, or where a file of variables cannot be read."""
    known: dict[str, str] = {"PWD": asked.directory, **asked.environment}
    above = _joined(asked.directory, asked.project_directory) if asked.project_directory else None
    first = asked.files[0] if asked.files else "-"
    loader.home = start = above or (
        asked.directory if first == "-" else os.path.dirname(_joined(asked.directory, first))
    )
    env_files = _env_files(start, asked, known, loader)
    known = {**variables.read(env_files, known, loader), **known}
    paths = _paths(asked, above or asked.directory, known)
    home = above or (asked.directory if paths[0] == "-" else os.path.dirname(paths[0]))
    late = [file for file in _env_files(home, asked, known, loader) if file not in env_files]
    known = {**variables.read(late, known, loader), **known}
    loader.complaints.raise_if_any()
    loader.home = home
    known["COMPOSE_PROJECT_NAME"] = name = _name(asked.name, known, paths, home, loader)
    if not all(roots for _, roots in loader.composed.values()):
        loader.complaints.raise_if_any()  # what is no YAML cannot be read on
    return Project(name, home, tuple(paths), known, (*env_files, *late))


def _joined(directory: str, path: str) -> str:
    return os.path.normpath(os.path.join(directory, path))


def _env_files(home: str, asked: Asked, known: Mapping[str, str], loader: Loader) -> list[str]:
    """--env-file, COMPOSE_ENV_FILES, or the project's `.env` unless COMPOSE_DISABLE_ENV_FILE forbids it."""
    named = [*asked.env_files] or [file for file in known.get("COMPOSE_ENV_FILES", "").split(",") if file]
    if named:
        return [_joined(asked.directory, path) for path in named]
    default = os.path.join(home, ".env")
    off = known.get("COMPOSE_DISABLE_ENV_FILE", "").lower() in ("1", "t", "true", "y", "yes", "on")
    return [default] if not off and loader.door.is_file(default) else []


def _paths(asked: Asked, start: str, known: Mapping[str, str]) -> list[str]:
    """-f, COMPOSE_FILE, or what lies here or above."""
    named = asked.files
    if not named and known.get("COMPOSE_FILE"):
        separator = known.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        named = [path for path in known["COMPOSE_FILE"].split(separator) if path]
    if named:
        return [path if path == "-" else _joined(asked.directory, path) for path in named]
    if found := find_all(start):
        return found
    raise Mistake(
        f"cannot find a stack file in {start} or a folder above it: expected {', '.join(NAMES)}; name one with -f"
    )


def _name(given: str | None, known: Mapping[str, str], paths: Sequence[str], home: str, loader: Loader) -> str:
    """-p, COMPOSE_PROJECT_NAME, `name:` of the last file with one, the directory's name made fit: Compose's order."""
    chosen = given or known.get("COMPOSE_PROJECT_NAME")
    written = _written(paths, loader)
    if not chosen and written:
        source, node = written
        chosen = _filled(node.value, known) if loader.options.interpolate else node.value
        if not re.fullmatch(_NAME, chosen):
            mark, fit = node.start_mark, _made_fit(chosen)
            place = Place(source, mark.line + 1, mark.column + 1)
            if not fit:
                loader.complaints.add(place, f"name: expected {_NAMES}, but found {chosen!r}")
                return "unnamed"
            said = f"{source.shown}:{place.line}: name: {chosen!r} is taken as {fit!r}; expected {_NAMES}"
            loader.complaints.warnings[said] = None
            return fit
    if not chosen:
        return _made_fit(os.path.basename(home)) or "default"
    if not re.fullmatch(_NAME, chosen):
        raise Mistake(f"cannot use {chosen!r} as the stack's name: expected {_NAMES}")
    return chosen


def _made_fit(name: str) -> str:
    """The name as Compose makes it one: "" where nothing is left of it."""
    return re.sub(r"[^a-z0-9_-]", "", name.lower()).lstrip("_-")


def _filled(name: str, known: Mapping[str, str]) -> str:
    try:
        return interpolate(name, known, lambda _: None)
    except Malformed:
        return "unnamed"  # the complaint comes, with its place, when the file is read


def _written(paths: Sequence[str], loader: Loader) -> tuple[Source, Any] | None:
    """The last `name:` of the files."""
    found = None
    for path in paths:
        source, roots = loader.look(path)
        for root in roots:
            if node := scalar_of(root, "name"):
                found = source, node
    return found
