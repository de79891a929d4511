"""When an image is fetched again: Compose `pull_policy`, and the pure function that obeys it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator import units

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class PullPolicy:
    """`kind` "every": at most `seconds` old."""

    kind: Literal["always", "missing", "never", "build", "every"] = "missing"
    seconds: float = 0.0


def parse(word: str) -> PullPolicy:
    """ "always", "missing" or "if_not_present", "never", "build", "daily", "weekly", "every_12h". Raises ValueError."""
    match word:
        case "always" | "missing" | "never" | "build":
            return PullPolicy(word)
        case "if_not_present":
            return PullPolicy("missing")
        case "daily":
            return PullPolicy("every", DAY)
        case "weekly":
            return PullPolicy("every", 7 * DAY)
    if word.startswith("every_"):
        return PullPolicy("every", units.duration(word.removeprefix("every_")))
    known = "always, missing, if_not_present, never, build, daily, weekly or every_<duration>"
    raise ValueError(f"expected {known}, but found {word!r}")


def due(policy: PullPolicy, pulled: float | None, now: float) -> bool:
    """Whether a registry is to be asked. `pulled`: seconds since the epoch when one last was, None: it is not here."""
    match policy.kind:
        case "never" | "build":
            return False
        case "always":
            return True
        case "every":
            return pulled is None or now - pulled >= policy.seconds
        case "missing":
            return pulled is None
