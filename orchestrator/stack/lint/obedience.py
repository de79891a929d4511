"""What `pyorch up` would refuse."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.stack.lint.finding import Finding, Subject
from orchestrator.stack.obeyed import refused


def not_obeyed(subject: Subject) -> Iterator[Finding]:
    """A word of the Compose Specification that pyorch does not obey yet: `up` refuses it."""
    for path, why, way_out in refused(subject.tree, subject.marks):
        if why:
            yield Finding(path, why, way_out, key=True)
