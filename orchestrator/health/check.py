"""What a check is, and what is known of a container's health. Values only; `judge.py` says what a result means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["starting", "healthy", "unready", "unhealthy"]  # unready: it serves nobody for now, and goes on


@dataclass(frozen=True, slots=True)
class Check:
    """Compose `healthcheck`. Durations in seconds. `test` as Compose writes it: ("CMD", …) or ("CMD-SHELL", text)."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float = 5.0
    deadline: float | None = None  # condemned so long after the start at the earliest; None: as Docker would be


@dataclass(frozen=True, slots=True)
class Result:
    """One run of a check. `code` is None where it did not end in time (or could not be run: see `output`)."""

    at: float
    code: int | None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the results so far mean. `since`: when this status began; `failing`: failures in a row that count."""

    status: Status
    since: float
    failing: int = 0
    probes: int = 0
    last: Result | None = None
