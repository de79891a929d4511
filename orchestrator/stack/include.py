"""`include`: other stack files, each loaded as a project of its own, then taken in (Compose Specification, "include").

An included project has its own directory and its own `.env`. What both define must be the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from orchestrator.record import frozen
from orchestrator.stack import variables
from orchestrator.stack.extends import complain
from orchestrator.stack.loader import Loader, Scope, below
from orchestrator.stack.parse import Document
from orchestrator.stack.places import Complaints, Mark, Path, did_you_mean
from orchestrator.stack.tree import List, Map

Layered = Callable[[Loader, "list[str]", Scope], Map]

_KINDS = ("services", "volumes", "networks", "secrets", "configs", "models")
_KEYS = ("path", "project_directory", "env_file")


@frozen
class _Wanted:
    """One element of `include`, made long."""

    where: Path
    mark: Mark | None
    paths: list[str]
    project_directory: str | None
    env_files: list[str]


def apply(loader: Loader, document: Document, scope: Scope, layered: Layered) -> None:
    """Take in everything that the document includes; `layered` loads a project's files."""
    mark = document.data.marks.get("include")
    written = document.data.get("include")
    document.data.drop("include")
    if written is None:
        return
    if not isinstance(written, List):
        complain(loader.complaints, ("include",), mark, "expected a list of files or of maps with 'path'")
        return
    for wanted in _read(written, loader.complaints):
        taken = _load(loader, wanted, scope, layered, document.source.path)
        if taken is not None:
            _take_in(document, taken, wanted, loader.complaints)


def _read(written: List, complaints: Complaints) -> Iterator[_Wanted]:
    for index, (item, mark) in enumerate(written.pairs()):
        where: Path = ("include", index)
        long = item if isinstance(item, Map) else Map({"path": item})
        unknown = next((key for key in long if key not in _KEYS and not key.startswith("x-")), None)
        if unknown is not None:
            place = long.marks.get(unknown)
            complain(complaints, (*where, unknown), place, f"unknown key{did_you_mean(unknown, _KEYS)}")
            continue
        paths, env_files = _texts(long.get("path")), _texts(long.get("env_file"))
        directory = long.get("project_directory")
        if not paths or env_files is None or not isinstance(directory, str | None):
            complain(complaints, where, mark, "expected a file's path, or a map with 'path'")
            continue
        yield _Wanted(where, mark, paths, directory or None, env_files)


def _texts(value: Any) -> list[str] | None:
    items = [value] if isinstance(value, str) else value or []
    return [*items] if isinstance(items, list) and all(isinstance(item, str) for item in items) else None


def _load(loader: Loader, wanted: _Wanted, scope: Scope, layered: Layered, here: str) -> Map | None:
    files = [os.path.normpath(os.path.join(scope.directory, path)) for path in wanted.paths]
    way = (*scope.way, here)
    if files[0] in way:
        circle = " → ".join(os.path.relpath(file, loader.home) for file in (*way[way.index(files[0]) :], files[0]))
        complain(loader.complaints, wanted.where, wanted.mark, f"the files include each other in a circle: {circle}")
        return None
    if not loader.door.is_file(files[0]):
        complain(loader.complaints, wanted.where, wanted.mark, f"cannot include {files[0]}: there is no such file")
        return None
    if wanted.project_directory is None:
        directory = os.path.dirname(files[0])
    else:
        directory = os.path.normpath(os.path.join(scope.directory, wanted.project_directory))
    absolute = wanted.project_directory is not None and os.path.isabs(wanted.project_directory)
    seen = directory if os.path.isdir(directory) else os.path.dirname(directory)  # Compose's way with what is not there
    start = directory if absolute else os.path.relpath(seen, scope.directory)
    found = _variables(loader, wanted, scope, directory)
    via = below(scope, files[0], "included by", wanted.mark)
    return None if found is None else layered(loader, files, Scope(directory, start, found, way, via))


def _variables(loader: Loader, wanted: _Wanted, scope: Scope, directory: str) -> dict[str, str] | None:
    """Those of the including project win over those of the included one's files."""
    default = os.path.join(directory, ".env")
    files = [os.path.join(scope.directory, file) for file in wanted.env_files if file != "/dev/null"]
    if not wanted.env_files and loader.door.is_file(default):
        files = [default]
    missing = next((file for file in files if not loader.door.is_file(file)), None)
    if missing is not None:
        where = (*wanted.where, "env_file")
        complain(loader.complaints, where, wanted.mark, f"env file {missing} does not exist")
        return None
    return {**variables.read(files, scope.variables, loader), **scope.variables}


def _take_in(document: Document, taken: Map, wanted: _Wanted, complaints: Complaints) -> None:
    for kind in _KINDS:
        things = taken.get(kind)
        if not isinstance(things, Map):
            continue
        own = document.data.get(kind)
        if own is None:
            own = Map()
            document.data.put(kind, own, document.data.marks.get(kind) or taken.marks.get(kind))
        if not isinstance(own, Map):
            continue
        for name, thing in things.items():
            if name not in own:
                own.put(name, thing, things.marks.get(name))
            elif own[name] != thing:
                text = f"is defined by the included {_file_of(things, name)} too; rename one, or lay a file over both"
                complain(complaints, (kind, name), own.marks.get(name) or wanted.mark, text)


def _file_of(things: Map, name: str) -> str:
    mark = things.marks.get(name)
    return mark[0].shown if mark else "a file"
