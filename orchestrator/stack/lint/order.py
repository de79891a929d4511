"""Who waits for whom, and whether what is waited for can be seen."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator import units
from orchestrator.health.check import Check
from orchestrator.stack.lint.finding import Finding, Subject, has_check, seconds


def gate_without_check(subject: Subject) -> Iterator[Finding]:
    """depends_on: service_healthy on a service whose health nobody checks: a wait that may have no end."""
    for name, service in subject.services.items():
        for need, how in (service.get("depends_on") or {}).items():
            needed = subject.services.get(need) or subject.disabled.get(need)
            if needed is None or has_check(needed) or (how or {}).get("condition") != "service_healthy":
                continue
            perhaps = "" if needed.get("healthcheck") else ", unless its image brings one"
            yield Finding(
                ("services", name, "depends_on", need),
                f"waits for '{need}' to be healthy, but '{need}' has no health check{perhaps}",
                f"write services.{need}.healthcheck, or wait for service_started",
                key=True,
            )


def inactive_dependency(subject: Subject) -> Iterator[Finding]:
    """A service that can be up while the profile of what it needs is not active."""
    everyone = {**subject.services, **subject.disabled}
    for name, service in everyone.items():
        own = set(service.get("profiles") or ())
        for need in service.get("depends_on") or {}:
            others = set((everyone.get(need) or {}).get("profiles") or ())
            if others and (not own or own - others):
                yield Finding(
                    ("services", name, "depends_on", need),
                    f"needs '{need}', which is only there with profile {' or '.join(sorted(others))}",
                    f"give '{name}' the same profiles, or take them from '{need}'",
                    key=True,
                )


def monitor_too_short(subject: Subject) -> Iterator[Finding]:
    """A roll-out that stops watching a new replica before its check can have failed takes every replica for good."""
    usual = Check(())
    for name, service in subject.services.items():
        monitor = ((service.get("deploy") or {}).get("update_config") or {}).get("monitor")
        if monitor is None or not has_check(service):
            continue
        check = service["healthcheck"]
        interval = seconds(check.get("interval"), usual.interval) or usual.interval
        retries = int(check.get("retries") or usual.retries)
        proof = seconds(check.get("start_period"), usual.start_period) + retries * interval
        if seconds(monitor) < proof:
            yield Finding(
                ("services", name, "deploy", "update_config", "monitor"),
                f"watches a new replica for {units.human_seconds(seconds(monitor))}, but its health check cannot fail"
                f" before {units.human_seconds(proof)} (start_period + retries × interval)",
                f"write {units.human_seconds(proof)} or more, or check more often",
            )


def start_interval_without_period(subject: Subject) -> Iterator[Finding]:
    """start_interval means the time between runs during start_period; without one it means nothing."""
    for name, service in subject.services.items():
        check = service.get("healthcheck") or {}
        if "start_interval" in check and not seconds(check.get("start_period")):
            yield Finding(
                ("services", name, "healthcheck", "start_interval"),
                "has no effect: there is no start_period",
                "write start_period beside it",
                key=True,
            )
