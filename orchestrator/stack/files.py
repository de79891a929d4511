"""Which file `pyorch up` means when none is named. Standard library only: the command line's fast path reads this."""

from __future__ import annotations

import os

NAMES = (
    "stack.yaml",
    "stack.yml",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
)
_OVERRIDES = (
    "stack.override.yaml",
    "stack.override.yml",
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)


def find(directory: str) -> str | None:
    """The first of NAMES in `directory` or the nearest parent that has one, as an absolute path; None: nowhere."""
    here = os.path.abspath(directory)
    while True:
        for name in NAMES:
            candidate = os.path.join(here, name)
            if os.path.isfile(candidate):
                return candidate
        parent = os.path.dirname(here)
        if parent == here:
            return None
        here = parent


def find_all(directory: str) -> list[str]:
    """What `find` sees, and the override file beside it, as Compose looks for them; empty: there is none."""
    first = find(directory)
    if first is None:
        return []
    beside = (os.path.join(os.path.dirname(first), name) for name in _OVERRIDES)
    override = next((path for path in beside if os.path.isfile(path)), None)
    return [first] if override is None else [first, override]
