"""The whole tree of errors on one page.

Every message is a sentence for the person who can fix it: "cannot X: why", with the place and the way out.
The three numbers of a class say how it leaves the house: the command's exit code, the HTTP status and its JSON name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class OrchestratorError(Exception):
    """Something pyorch could not do; `str(error)` is the whole sentence."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    kind: ClassVar[str] = "error"


class Mistake(OrchestratorError):
    """The user can fix it. `complaints` holds every mistake found, one printable text each (place, line, caret)."""

    exit_code = 2
    http_status = 400
    kind = "mistake"

    def __init__(self, *complaints: str) -> None:
        self.complaints: tuple[str, ...] = complaints
        super().__init__("\n".join(complaints))


class Missing(OrchestratorError):
    """There is no such stack, service, container or image."""

    http_status = 404
    kind = "missing"


class Conflict(OrchestratorError):
    """True, but not now: something else holds what was asked for."""

    http_status = 409
    kind = "conflict"


class Unreachable(OrchestratorError):
    """The agent, the launcher or a registry does not answer."""

    exit_code = 3
    http_status = 503
    kind = "unreachable"


class HostRefused(OrchestratorError):
    """The kernel said no; raised `from` the OSError, once, where the intention is known."""

    kind = "host-refused"


def revive(kind: str, message: str, complaints: Sequence[str] = ()) -> OrchestratorError:
    """The error that travelled over the API as JSON, as an exception again."""
    for family in (Missing, Conflict, Unreachable, HostRefused):
        if family.kind == kind:
            return family(message)
    return Mistake(*(complaints or (message,))) if kind == Mistake.kind else OrchestratorError(message)
