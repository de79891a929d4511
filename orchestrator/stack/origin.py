"""Where a value was written."""

from __future__ import annotations

from orchestrator.record import frozen


@frozen
class Origin:
    """A place in a file, lines and columns counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file.rsplit('/', 1)[-1]}:{self.line}"
