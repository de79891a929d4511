"""Who makes files and runs programs for a build: an argument of it, and what it is told meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from orchestrator.images.store import Entry

Say = Callable[..., None]  # say(step=…, state=…, key=…, line=…)


class Hands(Protocol):
    """What makes files and runs programs. Raises ValueError for what the Dockerfile's author can mend, HostRefused."""

    def do(self, task: dict[str, Any], hear: Callable[[str], None]) -> dict[str, Any]: ...

    def stop(self, home: str) -> None:
        """End the program of the step whose `home` that is, if it still runs."""

    def give(self, entry: Entry, kind: str, where: str) -> None:
        """An image to a registry (`kind` "registry") or into an OCI layout ("local"). Raises OrchestratorError."""

    def clone(self, source: str, directory: str) -> tuple[str, str]:
        """A repository (`URL#ref:directory`) into a new directory: (commit, where its files are). Raises ValueError."""
