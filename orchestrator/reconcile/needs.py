"""What a service needs before it may start: what it depends on, in the state it asks for, and its networks and volumes.

The services it depends on were judged before it in this turn, so their holds are known, and a reason travels down the
chain: "needs api healthy, but it needs db healthy, but it exited 1 (restart: no)".
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.policy.restart import Finished
from orchestrator.reconcile import drift
from orchestrator.reconcile.scene import Met, Scene, Unmet
from orchestrator.reconcile.slot import Condition, Slot, reached
from orchestrator.stack.model import Network, Service


def check(scene: Scene, service: Service) -> Met | Unmet:
    """All needs of a service, the same for each of its replicas."""
    answer = scene.needs.get(service.name)
    if answer is None:
        answer = scene.needs[service.name] = _check(scene, service)
    return answer


def _check(scene: Scene, service: Service) -> Met | Unmet:
    """The first need that can never be met, else the first that is not."""
    answers = [*_external(scene, service), *_dependencies(scene, service), *_ground(scene, service)]
    unmet = [answer for answer in answers if isinstance(answer, Unmet)]
    if unmet:
        return next((one for one in unmet if one.failed), unmet[0])
    return Met("; ".join(answer.remark for answer in answers if isinstance(answer, Met) and answer.remark))


def _external(scene: Scene, service: Service) -> Iterator[Unmet]:
    for thing in scene.blueprint.used(service):
        kind, exist = _kind(scene, thing)
        if thing.external and thing.name not in exist:
            way_out = f"create it, or take `external: true` off {kind} '{thing.key}'"
            if kind == "network" and thing.name in ("host", "none"):  # Docker has networks of these names
                way_out = f"write network_mode: {thing.name} at the service"
            yield Unmet(f"cannot use external {kind} '{thing.name}': it does not exist; {way_out}", failed=True)


def _ground(scene: Scene, service: Service) -> Iterator[Unmet]:
    for key in service.networks:
        if key not in scene.stack.networks:
            yield Unmet(f"cannot start again: network '{key}' is no longer in the file", failed=True)
    for thing in scene.blueprint.used(service):
        kind, exist = _kind(scene, thing)
        if not thing.external and (thing.name not in exist or thing.name in scene.turn.world.busy):
            failure = scene.turn.world.failures.get(thing.name)
            why, heal = drift.broken(scene.stack, thing.name, scene.turn.world)
            if failure:
                yield Unmet(f"needs {kind} {thing.name}: {failure.why}", outlook="failing")
            elif not heal:
                yield Unmet(f"needs {kind} {thing.name}: {why}; {drift.REPORTED}", outlook="parked")
            else:
                yield Unmet(f"needs {kind} {thing.name}")


def _kind(scene: Scene, thing: object) -> tuple[str, frozenset[str]]:
    world = scene.turn.world
    return ("network", world.networks) if isinstance(thing, Network) else ("volume", world.volumes)


def _dependencies(scene: Scene, service: Service) -> Iterator[Met | Unmet]:
    for name, how in service.depends_on.items():
        answer = _dependency(scene, name, how.condition)
        if isinstance(answer, Unmet) and not how.required and (answer.failed or answer.outlook == "parked"):
            yield Met(f"without {name}, which is optional ({answer.why})")
        else:
            yield answer


def obstacle(scene: Scene, service: Service) -> str | None:
    """The dependency that keeps a service from being started, or from being well; None where none does."""
    for name, how in service.depends_on.items():
        answer = _dependency(scene, name, how.condition)
        if isinstance(answer, Unmet) and how.required:
            return name
    return None


def _dependency(scene: Scene, name: str, condition: Condition) -> Met | Unmet:
    if name not in scene.services or not scene.active(name):
        return Met()  # its profile is off, or the user said --no-deps
    slots = scene.slots(name)
    if not slots:
        return Met(f"{name} has no replicas to wait for")
    waiting = [slot for slot in slots if scene.makes_way(slot) or not reached(slot, condition, scene.stuck)]
    if not waiting:
        return Met()
    if name in scene.wanted.stopped:
        return Unmet(f"needs {name} {condition} (stopped by hand)", outlook="parked")
    answers = [_obstacle(scene, slot, condition, len(slots) > 1) for slot in waiting]
    return next((answer for answer in answers if answer.failed), answers[0])


def _obstacle(scene: Scene, slot: Slot, condition: Condition, several: bool) -> Unmet:
    """Why a replica is not there yet, and whether it ever will be."""
    need = f"needs {slot.replica.service} {condition}"
    who = slot.replica.name if several else "it"
    hold = scene.turn.holds.get(slot.replica.name)
    if hold and hold.failed:
        return Unmet(f"{need}, but {who} {_as_clause(hold.why)}", failed=True)
    if condition == "healthy":
        if isinstance(slot.next, Finished) and slot.present:
            return Unmet(f"{need}, but {who} {slot.next.why}", failed=True)
        if slot.present and not slot.replica.definition.checked and slot.present.verdict is None:
            return Unmet(f"{need}, but {who} has no healthcheck", failed=True)
    state = "to be stopped for a moment" if scene.makes_way(slot) and not slot.ill else _state(slot)
    state = f"{slot.replica.name} {state}" if several else state
    return Unmet(f"{need} ({hold.why if hold else state})", outlook=hold.outlook if hold else "soon")


def _as_clause(why: str) -> str:
    """`why` after "but it": a state needs its verb."""
    return f"is {why}" if why.startswith(("unhealthy", "out of memory", "killed")) else why


def _state(slot: Slot) -> str:
    container = slot.container
    if container is None:
        return "not running yet"
    if slot.outdated:
        return f"to be replaced: {slot.outdated}"
    if slot.restart:
        return slot.restart
    if container.phase == "running":
        return container.verdict.status if container.verdict else "running"
    return slot.next.why if slot.next else "not started yet"
