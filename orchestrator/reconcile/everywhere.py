"""Mode global: one replica on each node that the service is for."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.world import Wanted, World
from orchestrator.scheduler.filters import holds
from orchestrator.scheduler.node import Node
from orchestrator.scheduler.want import suits
from orchestrator.stack.model import Service, Stack
from orchestrator.stack.placement import asked


def everywhere(wanted: Wanted, world: World) -> Wanted:
    """With as many replicas of each global service as there are nodes for it, unless somebody scaled it."""
    found = {
        service.name: len(homes(service, wanted.stack, world.nodes))
        for service in blueprint(wanted.stack).everywhere
        if service.name not in wanted.scale
    }
    return replace(wanted, scale={**wanted.scale, **found}) if found else wanted


def homes(service: Service, stack: Stack, nodes: tuple[Node, ...]) -> list[Node]:
    """The nodes a global service is for. One that takes nothing new just now is still one of them, unless drained."""
    request = asked(service, stack)
    named = [one for one in request.constraints if one.key in ("node.id", "node.hostname")]
    alike: dict[object, bool] = {}
    found = []
    for node in nodes:
        kind = replace(node, name="", cordoned=False)
        key = (kind.ready, kind.drained, kind.architecture, kind.role, kind.os, kind.runtimes, *kind.labels.items())
        if key not in alike:
            alike[key] = suits(request, kind)
        if alike[key] and all(holds(one, node) for one in named):
            found.append(node)
    return found
