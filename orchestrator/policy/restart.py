"""Restart: the dataclass, and the pure function that obeys it, side by side.

Times are seconds of CLOCK_MONOTONIC: they hold over the agent's death and do not jump with the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Condition = Literal["no", "on-failure", "always", "unless-stopped"]


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Compose `restart` / `deploy.restart_policy`, and the back-off of `x-pyorch.restarts`."""

    condition: Condition = "no"
    max_attempts: int | None = (
        None  # restarts allowed within `window` (on-failure:N, deploy.restart_policy.max_attempts)
    )
    window: float | None = None
    delay: float | None = None  # as written; None: the first restart after a good stretch is immediate
    initial: float = 0.1
    factor: float = 2.0
    max: float = 30.0
    reset_after: float = 10.0
    give_up_after: int | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """One end of a container. `code` is None where nobody could read it (the launcher was dead): it counts as a failure.

    `started` and `at` are seconds of CLOCK_MONOTONIC. `cause`: "exited", "oom", "unhealthy" (we killed it for failing
    its check) or "asked" (stop, restart or replacement asked for: not a failure, spends no budget).
    """

    started: float
    at: float
    code: int | None
    signal: int | None = None
    cause: Literal["exited", "oom", "unhealthy", "asked"] = "exited"
