"""What containers stand on: networks and volumes exist before what uses them starts."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.policy.restart import setback
from orchestrator.reconcile import drift
from orchestrator.reconcile.plan import DropNetwork, Hold, MakeNetwork, MakeVolume
from orchestrator.reconcile.scene import Scene
from orchestrator.reconcile.turn import Line
from orchestrator.reconcile.world import World
from orchestrator.stack.model import Network, Service, Stack, Volume


def lay(scene: Scene) -> Iterator[Line]:
    """Make what is missing and used by a service that is to run; external things are the user's to make. Networks that
    the file no longer has go with the last container in them; volumes stay."""
    stack, world = scene.stack, scene.turn.world
    for name, whose in world.unnamed.items():
        if whose == stack.name:
            yield DropNetwork(name, whose, "no longer in the stack")
    for network in stack.networks.values():
        if network.name not in world.networks and not network.external and _used(scene, network):
            why, heal = drift.broken(stack, network.name, world)
            if heal:
                told = f"drift: {why}" if why else "missing"
                yield _hold(scene, network.name) or MakeNetwork(network.name, stack.name, network.key, told)
            else:
                yield Hold(network.name, f"drift: {why}; {drift.REPORTED}", outlook="asked")
    for volume in stack.volumes.values():
        if volume.name not in world.volumes and not volume.external and _used(scene, volume):
            yield _hold(scene, volume.name) or MakeVolume(volume.name, stack.name, volume.key, "missing")


def beneath(stack: Stack, service: Service, world: World) -> Iterator[MakeNetwork | MakeVolume]:
    """What is missing of what one service stands on, for a container of it that its user runs by hand."""
    for key in service.networks:
        network = stack.networks.get(key)
        if network and network.name not in world.networks and not network.external:
            yield MakeNetwork(network.name, stack.name, network.key, "missing")
    for mount in service.mounts:
        volume = stack.volumes.get(mount.source or "") if mount.kind == "volume" else None
        if volume and volume.name not in world.volumes and not volume.external:
            yield MakeVolume(volume.name, stack.name, volume.key, "missing")


def _used(scene: Scene, thing: Network | Volume) -> bool:
    return any(thing in scene.blueprint.used(service) for name, service in scene.services.items() if scene.runs(name))


def _hold(scene: Scene, name: str) -> Hold | None:
    """Making it failed: not again at once."""
    failure = scene.turn.world.failures.get(name)
    until = failure.at + setback(failure.count) if failure else 0.0
    return Hold(name, failure.why, until) if failure and until > scene.turn.now else None
