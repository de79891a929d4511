"""Which file `pyorch up` means when none is named. Standard library only: the command line's fast path reads this."""

from __future__ import annotations

import os

NAMES = (
    "stack.yaml",
    "stack.yml",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
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
