"""Replacing the replicas of a service: which of them may be touched now, which stay until their successors are up.

Stop-first: a replica makes way in its own slot. Start-first: the successor takes a free slot, and the old one leaves
when it is up; so the numbers of a service's slots move on. How far a roll-out is can be seen from the containers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.policy.rollout import Back, Canary, Go, Order, Pause, Renewed, Rollout, Step, Wait, next_step
from orchestrator.reconcile.plan import Hold, TakeBack
from orchestrator.reconcile.replica import named
from orchestrator.reconcile.slot import Slot, renewed, up
from orchestrator.reconcile.world import Container
from orchestrator.stack.model import Service, Stack

if TYPE_CHECKING:
    from orchestrator.reconcile.scene import Scene

UNWRITTEN = Rollout()
YOUNG = 1.0  # seconds; what has no check is believed to be well when it has run for so long


@dataclass(slots=True)
class Rolling:
    """A service with replicas of an older version. `said`: why its order is not the written one. `touched`: replicas
    that this turn has taken a place of `step` for already."""

    order: Order
    said: str
    step: Step
    delay: float
    why: str
    touched: list[str] = field(default_factory=list)

    @property
    def free(self) -> int:
        return self.step.count - len(self.touched) if isinstance(self.step, Go) else 0


def policy_of(scene: Scene, service: Service) -> Rollout | None:
    """None: nothing is written."""
    return service.rollback if service.name in scene.wanted.taken_back else service.update


def order_of(policy: Rollout | None, service: Service, stack: Stack) -> tuple[Order, str]:
    """The order in which replicas are replaced; where two versions cannot stand side by side, and why."""
    if policy is None or policy.order == "stop-first":
        return "stop-first", ""
    reason = _alone(service, stack)
    return ("stop-first", f"stop-first, because {reason}") if reason else ("start-first", "")


def _alone(service: Service, stack: Stack) -> str | None:
    """Why there cannot be one replica more than the file says."""
    if service.container_name:
        return f"its name is fixed ({service.container_name})"
    for mount in service.mounts:
        volume = stack.volumes.get(mount.source or "") if mount.kind == "volume" else None
        if volume is not None and volume.writers == 1 and not mount.read_only:
            return f"volume '{volume.key}' has a single writer"
    for key, attachment in service.networks.items():
        if attachment.ipv4_address:
            return f"its address in network '{key}' is fixed ({attachment.ipv4_address})"
    return None


def starts_first(scene: Scene, service: Service, slots: Mapping[int, Slot]) -> bool:
    if not any(map(serves, slots.values())):
        return False
    return order_of(policy_of(scene, service), service, scene.stack)[0] == "start-first"


def begin(scene: Scene, service: Service, slots: Mapping[int, Slot]) -> Rolling | None:
    """How far the roll-out of a service is; None where no replica of an older version is left to be touched."""
    world, now = scene.turn.world, scene.turn.now
    policy = policy_of(scene, service)
    order, said = order_of(policy, service, scene.stack)
    chosen, limit = policy or UNWRITTEN, canaries(scene, service)
    old = [slot for slot in slots.values() if slot.outdated and slot.container and slot.replica.name not in world.busy]
    if not old and not watched(scene, service):
        return None
    forgiven = scene.wanted.retries.get(service.name)
    rest = [slot for slot in slots.values() if slot not in old and not slot.finished]
    if order == "start-first":
        rest = [slot for slot in rest if not slot.outdated]
    watch = None if policy is None else watch_time(scene, service)
    new = [renewed(slot, world.busy, _trouble(scene, slot), watch, forgiven) for slot in rest]
    step = next_step(chosen, new, len(old), now, canaries=limit)
    if not old:
        return Rolling(order, said, step, chosen.delay, "") if isinstance(step, Back) else None
    if isinstance(step, Go | Wait) and order == "stop-first":
        # What has ended of the old version is taken away at once, and counts as on its way.
        ended = [slot for slot in old if not serves(slot)]
        new += [Renewed(slot.replica.name) for slot in ended]
        then = next_step(chosen, new, len(old) - len(ended), now, canaries=limit) if ended else step
        step = then if isinstance(then, Go | Wait) else Wait(ended[0].replica.name)
    return Rolling(order, said, step, chosen.delay, f"{old[0].outdated}; start-first")


def watched(scene: Scene, service: Service) -> bool:
    """The new version may still turn out to be bad, though no old replica is left: its revision was never ready as a
    whole, and there is something to be done if it is."""
    wanted = scene.wanted
    if wanted.proven or service.name in scene.blueprint.jobs or service.name not in scene.stack.services:
        return False
    return scene.blueprint.atomic or (wanted.revision > 1 and policy_of(scene, service) is not None)


def watch_time(scene: Scene, service: Service) -> float:
    """Seconds from a start in which an end counts against the new version."""
    policy = policy_of(scene, service) or UNWRITTEN
    return max(policy.monitor, 0.0 if service.checked else YOUNG)


def surge(scene: Scene, rolling: Rolling | None, wanted: int, slots: Mapping[int, Slot]) -> list[int]:
    """Start-first: the slots of the new version that there are, those that may be begun now, and as many of the old
    version as the new one does not replace yet. Who is on the way out goes on going."""
    busy = scene.turn.world.busy
    fresh = sorted(n for n, slot in slots.items() if not slot.outdated)[:wanted]
    standing = sum(up(slots[n]) and slots[n].replica.name not in busy for n in fresh)
    stays = stands_still(rolling)
    old = [n for n, slot in slots.items() if slot.outdated and (stays or serves(slot))]
    old.sort(key=lambda n: (slots[n].replica.name in busy, slots[n].ill, not serves(slots[n]), n))
    free = min(rolling.free if rolling else 0, wanted - len(fresh))
    unused = (n for n in range(1, len(slots) + free + 1) if n not in slots)
    begun = [n for n, _ in zip(unused, range(free), strict=False)]
    if rolling:
        service = next(iter(slots.values())).replica.definition
        rolling.touched += [named(scene.stack.name, service, n) for n in begun]
    return sorted([*fresh, *begun, *old[: max(wanted - standing, 0)]])


def serves(slot: Slot) -> bool:
    """Of an older version, and running."""
    return bool(slot.outdated) and slot.container is not None and slot.container.phase == "running"


def _trouble(scene: Scene, slot: Slot) -> str | None:
    failure = scene.turn.world.failures.get(slot.replica.name)
    return failure.why if failure else None


def canaries(scene: Scene, service: Service) -> int | None:
    """How many replicas may be renewed before `pyorch promote`; None: all of them."""
    promoted = scene.wanted.promoted.get(service.name) == scene.digest(service.name)
    back = service.name in scene.wanted.taken_back
    return None if not service.canary or promoted or back else service.canary


def held(scene: Scene, slot: Slot, rolling: Rolling) -> Hold:
    """Why an old replica stays as it is for now."""
    name, why = slot.replica.name, slot.outdated or ""
    match rolling.step:
        case Pause(reason) | Back(reason):
            scene.stuck.add(name)
            state = "paused" if isinstance(rolling.step, Pause) else "taken back"
            return Hold(name, f"{why}; the roll-out is {state}: {reason}", failed=True)
        case Canary(count):
            scene.stuck.add(name)
            word = "canary runs" if count == 1 else f"{count} canaries run"
            return Hold(name, f"{why}; {word}: 'pyorch promote' lets the rest follow", outlook="asked")
        case Wait(sibling, until) if until is not None:
            return Hold(name, f"{why}; waits until {sibling} has been up for {rolling.delay:g}s", until)
        case Wait(sibling):
            return wait_for(scene, name, why, sibling)
        case Go():
            if rolling.touched:
                return wait_for(scene, name, why, rolling.touched[0])
            return Hold(name, f"{why}; goes when its successor is up")


def wait_for(scene: Scene, name: str, why: str, sibling: str) -> Hold:
    """As long as its sibling, and with as much hope."""
    hold = scene.turn.holds.get(sibling) or Hold(sibling, "")
    return Hold(name, f"{why}; waits for {sibling} to be up", failed=hold.failed, outlook=hold.outlook)


def overtaken(scene: Scene, container: Container) -> str | None:
    """Why an old replica leaves, where its successor is up in another slot."""
    service, current = scene.services[container.service], scene.digest(container.service)
    if order_of(policy_of(scene, service), service, scene.stack)[0] == "stop-first":
        return None
    return "replaced: its successor is up" if current not in (None, container.digest) else None


def as_it_was(slot: Slot, container: Container) -> Slot:
    """The old version in its place: what ends while the roll-out stands still is run again as it was."""
    definition = container.service_definition or slot.replica.definition
    old = replace(slot.replica, digest=container.digest, meaning=container.meaning, definition=definition)
    return replace(slot, replica=old, outdated=None)


def stands_still(rolling: Rolling | None) -> bool:
    """Old replicas stay until somebody asks."""
    return rolling is not None and isinstance(rolling.step, Pause | Canary | Back)


def taken_back(scene: Scene, service: str, rolling: Rolling) -> TakeBack | None:
    if isinstance(rolling.step, Back):
        return TakeBack(f"{scene.stack.name}/{service}", scene.stack.name, (service,), rolling.step.why)
    return None
