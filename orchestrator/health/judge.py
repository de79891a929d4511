"""What one more result means, and when to look again.

Docker looks first after a whole interval, and then once an interval (moby `daemon/health.go`). We look at once and
then at growing distances, so that health is seen in milliseconds; but a container is condemned no earlier than Docker
could have condemned it, or a service that needs its second to boot would be killed for our impatience: while it
starts, looks that come ahead of Docker's do not count among the `retries`.
All times are seconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import math
from dataclasses import replace

from orchestrator.health.check import Check, Result, Verdict

FIRST_GAP = 0.02  # s; a check costs milliseconds, so the first looks may be this close
GROWTH = 2.0
KEPT_OUTPUT = 4096  # characters of a check's output, as Docker keeps


def judge(check: Check, verdict: Verdict | None, result: Result, started: float, *, excused: bool = False) -> Verdict:
    """The verdict after `result`, of a container whose present run began at `started`.

    One success is health. From health, `retries` failures in a row are illness. While starting, failures before the
    end of `start_period` do not count, nor those that Docker would not have looked for yet. `excused`: a failure says
    nothing, for everything here has just stood still (see `agent.gaps`).
    """
    before = verdict or Verdict("starting", started)
    last = replace(result, output=result.output[:KEPT_OUTPUT])
    probes = before.probes + 1
    if result.code == 0:
        since = before.since if before.status == "healthy" else result.at
        return Verdict("healthy", since, 0, probes, last)
    if excused:
        return replace(before, probes=probes, last=last)
    failing = before.failing + 1
    if before.status == "starting":
        failing = min(failing, _due(check, result.at - started))
    condemned = failing >= check.retries and result.at - started >= (check.deadline or 0.0)
    if condemned and before.status != "unhealthy":
        return Verdict("unhealthy", result.at, failing, probes, last)
    return replace(before, failing=failing, probes=probes, last=last)


def _due(check: Check, run: float) -> int:
    """How many looks that count Docker would have taken at most in the first `run` seconds of a container."""
    if check.deadline is not None:  # it has a time of its own
        return 1 << 30
    first = patience(replace(check, retries=1))
    return max(math.floor((run - first) / check.interval) + 1, 0) if check.interval > 0 else 1 << 30


def symptom(verdict: Verdict) -> str:
    """What ails it, in words: "3 checks failed in a row: connection refused"."""
    row = "its check failed" if verdict.failing == 1 else f"{verdict.failing} checks failed in a row"
    said = answer(verdict)
    return f"{row}: {said}" if said else row


def answer(verdict: Verdict) -> str:
    """The first line of what the last look brought back; of a traceback the last, which names the error."""
    last = verdict.last
    lines = last.output.strip().split("\n") if last else [""]
    said = lines[-1 if lines[0].startswith("Traceback (most recent call last)") else 0]
    return "no answer in time" if last and last.code is None and not said else said


def patience(check: Check) -> float:
    """Seconds of a run before which Docker could not have called it unhealthy: its first failure that counts, and
    `retries` - 1 intervals more."""
    if check.deadline is not None:
        return check.deadline
    first = max(check.start_period, check.start_interval) if check.start_period else check.interval
    return first + (check.retries - 1) * check.interval


def next_probe(check: Check, verdict: Verdict | None, started: float) -> float:
    """When to run the check again: at once, then after 20 ms, 40 ms … up to the interval; settled, once an interval.

    While starting, no look that Docker would have taken is left out: we are never slower than it to see health.
    """
    if verdict is None or verdict.last is None:
        return started
    last = verdict.last.at
    if verdict.status != "starting":
        return last + check.interval
    young = last - started < check.start_period
    pace = min(check.interval, check.start_interval) if young else check.interval
    gap = min(FIRST_GAP * GROWTH ** min(verdict.probes - 1, 30), pace)
    tick = started + (math.floor((last - started) / pace) + 1) * pace
    return min(last + gap, tick) if tick > last else last + gap
