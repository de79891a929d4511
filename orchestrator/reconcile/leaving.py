"""How things go: dependents end before what they depend on, in parallel per level; then what they used goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.reconcile.plan import DropNetwork, DropVolume, Hold, Remove, Stop
from orchestrator.reconcile.scene import Scene
from orchestrator.reconcile.turn import Line, Turn
from orchestrator.reconcile.world import Container, Wanted
from orchestrator.stack.model import Service


def take_down(turn: Turn, wanted: Wanted) -> Iterator[Line]:
    """A stack that is to be gone: containers, then networks, then volumes where asked. External things are not ours."""
    stack = wanted.stack
    left = [c for slots in turn.containers.get(stack.name, {}).values() for c in slots.values()]
    yield from leave(turn, left, "down", definitions=stack.services, grace=wanted.grace, remove=True)
    if left or any(name.startswith(f"{stack.name}-") for name in turn.world.busy):
        return
    for network in stack.networks.values():
        if not network.external and network.name in turn.world.networks and not _shared(turn, wanted, network.name):
            yield DropNetwork(network.name, stack.name, "down")
    for volume in stack.volumes.values():
        ours = (
            wanted.remove_volumes
            and not volume.external
            and not volume.protect
            and not _shared(turn, wanted, volume.name)
        )
        if ours and volume.name in turn.world.volumes:
            yield DropVolume(volume.name, stack.name, "down, with its volumes")


def _shared(turn: Turn, leaver: Wanted, name: str) -> bool:
    """Another stack gives a network or volume of its own the same name: the last one out takes it away."""
    others = (other.stack for other in turn.wanted.values() if other is not leaver and not other.down)
    return any(
        name in [network.name for network in stack.networks.values()]
        or name in [volume.name for volume in stack.volumes.values()]
        for stack in others
    )


def leave(
    turn: Turn,
    going: Sequence[Container],
    why: str,
    *,
    definitions: Mapping[str, Service],
    grace: float | None,
    remove: bool,
) -> Iterator[Line]:
    """Stop `going` in reverse order of dependency; remove those that have ended. `definitions` say who needs whom,
    the container's own where the stack no longer has its service."""
    needing: dict[str, Container] = {}
    for one in going:
        definition = definitions.get(one.service) or one.service_definition
        starting = one.phase == "created" and one.name in turn.world.busy
        if (one.phase == "running" or starting) and definition:
            needing.update({needed: one for needed in definition.depends_on if needed != one.service})
    running = [one for one in going if one.phase == "running"]
    # Definitions of different revisions can name each other in a circle; then there is no order to keep.
    circle = bool(running) and all(one.service in needing for one in running)
    for one in going:
        if one.phase != "running":
            if remove:
                yield Remove(one.name, one.id, why)
        elif one.service in needing and not circle:
            yield Hold(one.name, f"{why}; waits for {needing[one.service].name} to stop")
        else:
            yield stop(one, why, grace)


def stop(container: Container, why: str, grace: float | None, *, failure: bool = False, drain: float = 0.0) -> Stop:
    """Its own signal; its own grace (seconds) unless the user gave one."""
    patience = container.stop_grace_period if grace is None else grace
    return Stop(container.name, container.id, why, container.stop_signal, patience, failure, drain)


def drain(scene: Scene, container: Container) -> float:
    """Seconds that its connections have to end before it is asked to: as written; else, where others of its service
    serve meanwhile, as long as it would have to stop."""
    definition = scene.services.get(container.service) or container.service_definition
    if definition is None:
        return 0.0
    if definition.drain is not None:
        return definition.drain
    others = (one for one in scene.containers.get(container.service, {}).values() if one is not container)
    return container.stop_grace_period if any(one.phase == "running" for one in others) else 0.0
