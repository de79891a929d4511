"""Amounts that cannot be meant, and names that more than one container would need."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator import units
from orchestrator.stack.lint.finding import Finding, Subject, cpus, replicas, size


def limit_below_reservation(subject: Subject) -> Iterator[Finding]:
    """More is kept free for a container than it may use."""
    for name, service in subject.services.items():
        resources = (service.get("deploy") or {}).get("resources") or {}
        limits, kept = resources.get("limits") or {}, resources.get("reservations") or {}
        path = ("services", name, "deploy", "resources", "limits")
        memory = size(limits.get("memory", service.get("mem_limit")))
        reserved = size(kept.get("memory", service.get("mem_reservation")))
        if memory and reserved and memory < reserved:
            where = (*path, "memory") if "memory" in limits else ("services", name, "mem_limit")
            yield Finding(
                where,
                f"{units.human_bytes(memory)} of memory are less than the {units.human_bytes(reserved)} reserved",
                "raise the limit or lower the reservation",
            )
        cores, wanted = cpus(limits.get("cpus", service.get("cpus"))), cpus(kept.get("cpus"))
        if cores and wanted and cores < wanted:
            where = (*path, "cpus") if "cpus" in limits else ("services", name, "cpus")
            yield Finding(
                where,
                f"{units.human_cpus(cores)} cpus are less than the {units.human_cpus(wanted)} reserved",
                "raise the limit or lower the reservation",
            )


def fixed_name_with_replicas(subject: Subject) -> Iterator[Finding]:
    """One name, and a moment with two containers that want it."""
    for name, service in subject.services.items():
        if not service.get("container_name"):
            continue
        deploy = service.get("deploy") or {}
        count = replicas(service)
        order = (deploy.get("update_config") or {}).get("order")
        why = (
            f"there are {count} replicas"
            if count > 1
            else "there is one container on every node"
            if str(deploy.get("mode", "")).startswith("global")
            else "start-first runs the old and the new container side by side"
            if order == "start-first"
            else ""
        )
        if why:
            yield Finding(
                ("services", name, "container_name"),
                f"a fixed name serves one container, but {why}",
                "remove container_name",
                key=True,
            )
