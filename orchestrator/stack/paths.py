"""Relative paths of a file, made to start at its project's directory; `~` is the caller's home."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from orchestrator.stack.places import Path
from orchestrator.stack.tree import Map, plant, walk

_REMOTE = ("https://", "http://", "git://", "ssh://", "github.com/", "git@")
_DRIVE = r"[a-zA-Z]:[\\/]|\\\\"


def resolve(tree: Map, start: str, home: str) -> None:
    """Put `start` (a directory, absolute or not) before every relative path. `home`: what `~` means."""

    def visit(branch: Any, step: Any, _: Path, rule: Callable[[Any, Callable[[str], str]], Any]) -> None:
        branch[step] = rule(branch[step], lambda path: joined(start, path, home))

    walk(tree, _RULES, visit)


def joined(start: str, path: str, home: str) -> str:
    if path.startswith("~"):
        path = clean(home + "/" + path[1:]) if home else path
    if path.startswith("/") or re.match(_DRIVE, path):
        return path
    return clean(os.path.join(start, path))


def clean(path: str) -> str:
    normal = os.path.normpath(path)
    return normal[1:] if normal.startswith("//") else normal


def _path(value: Any, at: Callable[[str], str]) -> Any:
    return at(value) if isinstance(value, str) and value else value


def _file(value: Any, at: Callable[[str], str]) -> Any:
    return at(value) if isinstance(value, str) else value


def _context(value: Any, at: Callable[[str], str]) -> Any:
    """A build context may be an address or another service instead."""
    if not isinstance(value, str) or "://" in value or value.startswith(("service:", *_REMOTE)):
        return value
    return at(value)


def _linked(value: Any, at: Callable[[str], str]) -> Any:
    """What is watched is where its links lead to."""
    if not isinstance(value, str) or not value:
        return value
    path = at(value)
    return os.path.realpath(path) if os.path.isabs(path) else path


def _mount(value: Any, at: Callable[[str], str]) -> Any:
    if isinstance(value, Map) and value.get("type") == "bind":
        value["source"] = _path(value.get("source"), at)
        if value["source"] is None:
            del value["source"]
    return value


def _device(value: Any, at: Callable[[str], str]) -> Any:
    """A local volume with the option `bind` is a bind mount."""
    if isinstance(value, Map) and value.get("driver") == "local":
        options = value.get("driver_opts")
        if isinstance(options, Map) and options.get("o") == "bind" and "device" in options:
            options["device"] = at(str(options["device"] or ""))
    return value


_RULES = plant(
    {
        "services.*.build.context": _context,
        "services.*.build.additional_contexts.*": _context,
        "services.*.build.ssh.*": _path,
        "services.*.develop.watch[].path": _linked,
        "services.*.env_file[].path": _path,
        "services.*.extends.file": _path,
        "services.*.label_file[]": _path,
        "services.*.volumes[]": _mount,
        "configs.*.file": _file,
        "secrets.*.file": _file,
        "volumes.*": _device,
    }
)
