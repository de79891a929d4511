"""Restart: the dataclass, and the pure function that obeys it, side by side.

Times are seconds of CLOCK_MONOTONIC: they hold over the agent's death and do not jump with the wall clock.

Where the numbers come from: Docker waits 100 ms after the first exit and doubles up to 1 min, reset by a run of 10 s
(moby `restartmanager.go`); Nomad allows 2 attempts in 30 min, 15 s apart; the kubelet waits 10 s and doubles up to
5 min, reset by 10 min. Ours is Docker's, but the first failure after a good stretch costs no wait at all (a crash
once a day needs no punishment) and the longest wait is 30 s.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal, TypeAlias

Condition = Literal["no", "on-failure", "always", "unless-stopped"]


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Compose `restart` / `deploy.restart_policy`, and the back-off of `x-pyorch.restarts`."""

    condition: Condition = "no"
    max_attempts: int | None = None  # restarts allowed (on-failure:N, deploy.restart_policy.max_attempts) …
    window: float | None = None  # … within so many seconds; None: since the last good stretch
    delay: float | None = None  # as written; None: the first restart after a good stretch is immediate
    initial: float = 0.1
    factor: float = 2.0
    max: float = 30.0
    reset_after: float = 10.0  # a run as long as this is a good stretch: what failed before it is forgotten
    give_up_after: int | None = None  # failures in a row
    heal: bool = True  # False: the file says `restart: "no"` in so many words, so a failed check restarts nothing

    @property
    def ends(self) -> bool:
        """A good end is the end."""
        return self.condition in ("no", "on-failure")


@dataclass(frozen=True, slots=True)
class Exit:
    """One end of a container. `code` None: nobody could read it (the launcher was dead); it counts as a failure.

    `started` and `at` are seconds of CLOCK_MONOTONIC. `cause`: "exited", "oom", "unhealthy" (we killed it for failing
    its check), "asked" (stop, restart or replacement asked for: not a failure, spends no budget), "moved" (it had to
    leave its node: its slot is filled anew, there or elsewhere) or "stopped" (somebody else killed it: a drift).
    """

    started: float
    at: float
    code: int | None
    signal: int | None = None
    cause: Literal["exited", "oom", "unhealthy", "asked", "moved", "stopped"] = "exited"

    @property
    def good(self) -> bool:
        """It ended by itself, with code 0."""
        return self.code == 0 and self.cause == "exited"


HOPELESS = 8  # ends in a row, some 13 s with the usual back-off: nobody waits any longer for it to become ready


@dataclass(frozen=True, slots=True)
class Again:
    """Start it at `at` (past or future) again. `row`: how many times in a row it has ended early."""

    at: float
    why: str
    row: int = 0

    @property
    def hopeless(self) -> bool:
        return self.row >= HOPELESS


@dataclass(frozen=True, slots=True)
class Finished:
    """It ended as it should; nothing is left to do."""

    why: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """It failed and is not started again until somebody asks."""

    why: str


Next: TypeAlias = Again | Finished | GaveUp


def next_start(policy: RestartPolicy, exits: tuple[Exit, ...], now: float, *, patience: float = 0.0) -> Next:
    """What follows the last of `exits` (newest last).

    `patience`: seconds in which a check condemns at the earliest. A run that ended "unhealthy" was a good stretch
    only if it outlasted that too; otherwise a service that is never healthy would be restarted without back-off.
    """
    runs = _since_asked(exits)
    if not runs:
        return Again(now, "wanted, and not running")
    last, said = runs[-1], describe(runs[-1])
    if policy.condition == "no" and not (policy.heal and last.cause == "unhealthy"):
        return Finished(said) if last.good else GaveUp(f"{said} (restart: no)")
    if policy.condition == "on-failure" and last.good:
        return Finished(said)
    row = _in_a_row(policy, runs, patience)
    if policy.give_up_after is not None and row >= policy.give_up_after:
        return GaveUp(f"gave up: failed {_in_words(row)}, last {said}")
    restarts = row - 1 if policy.window is None else sum(e.at > last.at - policy.window for e in runs[:-1])
    if policy.max_attempts is not None and restarts >= policy.max_attempts:
        return GaveUp(f"gave up: restarted {_times(restarts)} (at most {policy.max_attempts}), last {said}")
    at = last.at + _delay(policy, row)
    return Again(at, f"ended {_in_words(row)}, last {said}" if row > 1 else _first(said, policy), row)


def _since_asked(exits: tuple[Exit, ...]) -> tuple[Exit, ...]:
    """An end that was asked for is no failure, and what failed before it is forgotten: somebody saw to it."""
    for number in range(len(exits), 0, -1):
        if exits[number - 1].cause in ("asked", "moved"):
            return exits[number:]
    return exits


def _in_a_row(policy: RestartPolicy, runs: tuple[Exit, ...], patience: float) -> int:
    """How many runs in a row ended early, counted back from the last to the one that ended a good stretch."""
    for count, run in enumerate(reversed(runs), 1):
        good = policy.reset_after + (patience if run.cause == "unhealthy" else 0.0)
        if run.at - run.started >= good:
            return count
    return len(runs)


def _delay(policy: RestartPolicy, row: int) -> float:
    if policy.delay is not None:  # as written: Compose's delay does not grow
        return policy.delay
    return 0.0 if row == 1 else min(policy.initial * policy.factor ** (row - 2), policy.max)


def describe(exit: Exit) -> str:
    """How it ended, in words."""
    if exit.cause == "oom":
        return "out of memory (killed at its limit)"
    if exit.cause == "unhealthy":
        return "unhealthy"
    if exit.signal is not None:
        return f"killed by {_signal_name(exit.signal)}"
    return "ended unseen (exit code unknown)" if exit.code is None else f"exited {exit.code}"


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"


def _first(said: str, policy: RestartPolicy) -> str:
    """`restart: no` comes here after a failed check alone, where nobody wrote it: see `heal`."""
    if said.endswith(")"):
        return said
    return f"{said} (restart: {policy.condition})" if policy.condition != "no" else f"{said} (a failed check restarts)"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _in_words(row: int) -> str:
    return _times(row) + (" in a row" if row > 1 else "")


def setback(count: int) -> float:
    """Seconds to wait after bringing something up (network, image, address …) failed `count` times in a row."""
    return float(min(0.5 * 2.0 ** min(count - 1, 16), 30.0))
