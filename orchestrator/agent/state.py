"""Small questions about a container: its state in two words, and whose it is."""

from __future__ import annotations

from orchestrator.agent.containers import Record
from orchestrator.kernel import cgroups
from orchestrator.reconcile.world import Wanted
from orchestrator.root import Root
from orchestrator.runtime.walls import own_devices


def state_of(record: Record) -> tuple[str, str]:
    """(state, health): "running", "paused", "exited" or "created"; "starting", "healthy", "unhealthy" or ""."""
    if record.paused:
        return "paused", record.verdict.status if record.verdict is not None else ""
    return record.phase, record.verdict.status if record.verdict is not None and record.phase == "running" else ""


def group_of(root: Root, record: Record) -> cgroups.Group:
    """Its control group, living or not."""
    return cgroups.Group(root.group(record.id, own_devices(record.definition)))


def service_of(container: str, wish: Wanted) -> str | None:
    """The service of a stack that a container name belongs to; None where it is not of this stack."""
    for name, service in {**wish.orphans, **wish.stack.services}.items():
        if service.container_name == container:
            return name
    of_stack, _, slot = container.removeprefix(f"{wish.stack.name}-").rpartition("-")
    known = of_stack in wish.stack.services or of_stack in wish.orphans
    return of_stack if known and slot.isdigit() and container.startswith(f"{wish.stack.name}-") else None
