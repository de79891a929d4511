"""The name of a stack by its file alone, for those who ask about one without loading it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from orchestrator.stack import load
from orchestrator.stack.places import Complaints, shown_name
from orchestrator.stack.reading import Reader
from orchestrator.stack.text import compose


def name_of(file: str, environment: Mapping[str, str]) -> str:
    """What `load` would call the stack of `file`. Raises Mistake where the file cannot be read as YAML."""
    home = os.path.dirname(os.path.abspath(file))
    complaints = Complaints()
    reader = Reader()
    variables = load._variables(home, home, (), environment, complaints, reader)
    source, root = compose(load._bytes(file, reader), shown_name(file, home), file, complaints)
    complaints.raise_if_any()
    return load._name(None, variables, [(source, root)], home, complaints)
