"""A probe by a command inside the container: 0 is well. Also what Compose's `healthcheck` is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    args: tuple[str, ...]

    def __str__(self) -> str:
        return f"command {' '.join(self.args)}"
