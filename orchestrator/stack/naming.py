"""The name of a stack by its file alone, for those who ask about one without loading it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from orchestrator.stack.loader import Loader, Options
from orchestrator.stack.places import Complaints
from orchestrator.stack.project import Asked, locate
from orchestrator.stack.reading import Reader


def name_of(file: str, environment: Mapping[str, str]) -> str:
    """What `load` would call the stack of `file`. Raises Mistake where the file cannot be read as YAML."""
    home = os.path.dirname(os.path.abspath(file))
    complaints = Complaints()
    name = locate(Asked(home, environment, [file]), Loader(complaints, Options(), home, Reader())).name
    complaints.raise_if_any()
    return name
