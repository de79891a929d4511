"""All rules by name, and the one function that runs them. A new rule is a function and a row here."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from orchestrator.stack.lint import amounts, images, network, obedience, order, secrets, things
from orchestrator.stack.lint.finding import Finding, Rule, Subject
from orchestrator.stack.places import Path, did_you_mean

RULES: dict[str, Rule] = {
    "gate-without-check": order.gate_without_check,
    "inactive-dependency": order.inactive_dependency,
    "monitor-too-short": order.monitor_too_short,
    "start-interval-without-period": order.start_interval_without_period,
    "limit-below-reservation": amounts.limit_below_reservation,
    "fixed-name-with-replicas": amounts.fixed_name_with_replicas,
    "port-clash": network.port_clash,
    "ports-without-network": network.ports_without_network,
    "latest-tag": images.latest_tag,
    "secret-in-environment": secrets.secret_in_environment,
    "privileged": secrets.privileged,
    "engine-socket": secrets.engine_socket,
    "unused-volume": things.unused_volume,
    "unused-network": things.unused_network,
    "unused-config": things.unused_config,
    "unused-secret": things.unused_secret,
    "missing-bind": things.missing_bind,
    "not-obeyed": obedience.not_obeyed,
}
UNKNOWN = "unknown-rule"  # what is said about a name that stands under `ignore` and is none of these


def findings(subject: Subject, ignored: Collection[str] = ()) -> Iterator[tuple[str, Finding]]:
    """(rule, finding) for everything found that is neither in `ignored` nor silenced in the file itself."""
    everywhere = {*ignored, *_silenced(subject.tree)}
    by_service = {name: {*_silenced(s)} for name, s in (*subject.services.items(), *subject.disabled.items())}
    yield from ((UNKNOWN, finding) for finding in _unknown(subject))
    for name, rule in RULES.items():
        if name in everywhere:
            continue
        for finding in rule(subject):
            about = finding.path[1] if finding.path[0] == "services" else None
            if name not in by_service.get(str(about), ()):
                yield name, finding


def _silenced(written: Mapping[str, Any]) -> list[str]:
    lint = (written.get("x-pyorch") or {}).get("lint") or {}
    return [str(name) for name in lint.get("ignore") or ()]


def _unknown(subject: Subject) -> Iterator[Finding]:
    places: list[tuple[Path, Mapping[str, Any]]] = [((), subject.tree)]
    places += [(("services", name), service) for name, service in subject.services.items()]
    for path, written in places:
        for index, name in enumerate(_silenced(written)):
            if name not in RULES:
                here = (*path, "x-pyorch", "lint", "ignore", index)
                yield Finding(here, f"there is no rule '{name}'{did_you_mean(name, RULES)}", "correct or remove it")
