"""A probe by a line of the container's output, since the start of its present run."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Log:
    """`pattern`: a regular expression that is looked for anywhere in a line."""

    pattern: str

    def __str__(self) -> str:
        return f"log {self.pattern!r}"


def found(probe: Log, line: bytes) -> bool:
    return re.search(probe.pattern, line.decode(errors="replace")) is not None
