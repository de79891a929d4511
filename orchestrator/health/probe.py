"""The probes of a service: what is asked, how often, and what its answers mean together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

from orchestrator.health.check import Verdict
from orchestrator.health.command import Command
from orchestrator.health.file import File
from orchestrator.health.grpc import Grpc
from orchestrator.health.http import Http
from orchestrator.health.log import Log
from orchestrator.health.tcp import Tcp

Probe: TypeAlias = Command | Http | Tcp | Grpc | File | Log
# healthcheck: Compose's, which answers both other questions. startup: the others wait for it. ready: names and ports
# lead to it, dependents start. live: where it fails, the container is restarted.
Role: TypeAlias = Literal["healthcheck", "startup", "ready", "live"]
ROLES: tuple[Role, ...] = ("startup", "healthcheck", "ready", "live")


def together(verdicts: Mapping[Role, Verdict], roles: tuple[Role, ...], started: float) -> Verdict:
    """One verdict of all `roles` that a service has. What condemns comes first, then what holds it back."""
    condemning: tuple[Role, ...] = ("startup", "healthcheck", "live")
    awaiting: tuple[Role, ...] = ("startup", "healthcheck", "ready")
    for role in condemning:
        verdict = verdicts.get(role)
        if verdict is not None and verdict.status == "unhealthy":
            return verdict
    since = started
    for role in (role for role in awaiting if role in roles):
        verdict = verdicts.get(role)
        if verdict is None:
            return Verdict("starting", started)
        if verdict.status == "unhealthy":  # only `ready` can be: it serves nobody, and goes on
            return replace(verdict, status="unready")
        if verdict.status != "healthy":
            return verdict
        since = max(since, verdict.since)
    answers = [verdict for verdict in verdicts.values() if verdict.last is not None]
    last = max(answers, key=lambda verdict: verdict.last.at if verdict.last else 0.0, default=None)
    return Verdict("healthy", since, 0, sum(one.probes for one in verdicts.values()), last.last if last else None)
