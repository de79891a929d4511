"""Why a service is as it is: from what one sees, dependency by dependency, to what all of it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.health.judge import answer, symptom
from orchestrator.policy.restart import describe
from orchestrator.reconcile import healing
from orchestrator.reconcile.needs import obstacle
from orchestrator.reconcile.plan import Hold, Plan, span
from orchestrator.reconcile.scene import Scene
from orchestrator.reconcile.slot import Slot, up
from orchestrator.reconcile.turn import Turn
from orchestrator.reconcile.world import Wanted, World


@dataclass(frozen=True, slots=True)
class Link:
    """One service in the chain. `subject`: the replica that shows it; `state`: how it is; `cause`: why that is so."""

    service: str
    subject: str
    state: str
    cause: str
    well: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """The first link is the one asked for, the last one the root. `next`: what happens by itself, and what does not."""

    links: tuple[Link, ...]
    next: str

    @property
    def root(self) -> Link:
        return self.links[-1]


def explain(wanted: Wanted, world: World, plan: Plan, service: str, now: float) -> Chain:
    """`plan` is what was decided of this world."""
    turn = Turn([wanted], world, now)
    turn.holds = {hold.subject: hold for hold in plan.holds}
    scene = Scene(turn, wanted)
    acting = {action.subject: action.why for action in plan.actions}
    links: list[Link] = []
    while service not in {link.service for link in links}:
        slot = _worst(scene, service)
        links.append(_link(scene, service, slot, acting))
        blocking = None if links[-1].well else obstacle(scene, scene.services[service])
        if blocking is None:
            break
        service = blocking
    root = _worst(scene, links[-1].service)
    hold = turn.holds.get(root.replica.name) if root else None
    busy = root is not None and root.replica.name in acting
    return Chain(tuple(links), _next(scene, links[-1], root, hold, busy))


def _worst(scene: Scene, service: str) -> Slot | None:
    """The replica that has most to tell."""
    slots = scene.slots(service)
    holds = scene.turn.holds

    def rank(slot: Slot) -> tuple[bool, bool, bool]:
        hold = holds.get(slot.replica.name)
        return (not (hold and hold.failed), hold is None, _well(slot))

    return min(slots, key=rank, default=None)


def _well(slot: Slot) -> bool:
    return up(slot) or slot.finished


def _link(scene: Scene, service: str, slot: Slot | None, acting: dict[str, str]) -> Link:
    if service in scene.wanted.stopped:
        return Link(service, service, "stopped", "stopped by hand ('pyorch start' runs it again)")
    if not scene.active(service):
        return Link(service, service, "not asked for", "nobody brought it up: its profile is off, or 'up' named others")
    if slot is None:
        return Link(service, service, "without replicas", "it is scaled to 0")
    name, container = slot.replica.name, slot.container
    hold = scene.turn.holds.get(name)
    if hold is None and name not in acting and _well(slot):
        state = "done" if slot.finished else "healthy" if slot.replica.definition.checked else "running"
        return Link(service, name, state, _last_trouble(slot), well=True)
    cause = hold.why if hold else acting.get(name) or _own(slot)
    state = _state(slot, container is not None)
    return Link(service, name, state, cause.removeprefix(f"{state}: "))


def _state(slot: Slot, made: bool) -> str:
    container = slot.container
    if container is None or not made:
        return "not running, and never was"
    if container.phase != "running":
        return "not running"
    return container.verdict.status if container.verdict else "running"


def _own(slot: Slot) -> str:
    container = slot.container
    if container is None:
        return "not started yet"
    if container.verdict is not None and container.verdict.status != "healthy":
        if container.verdict.failing:
            return symptom(container.verdict)
        said = answer(container.verdict)
        before = f" (before, it ended: {describe(container.exits[-1])})" if container.exits else ""
        return "no check of it has passed yet" + (f": {said}" if said else "") + before
    return describe(container.exits[-1]) if container.exits else "being started"


def _last_trouble(slot: Slot) -> str:
    exits = slot.container.exits if slot.container else ()
    bad = [exit for exit in exits if not exit.good and exit.cause != "asked"]
    if not bad:
        return "nothing is amiss"
    times = "once" if len(bad) == 1 else f"{len(bad)} times"
    return f"it ended {times} before, last: {describe(bad[-1])}"


def _next(scene: Scene, root: Link, slot: Slot | None, hold: Hold | None, acting: bool) -> str:
    name, now = root.service, scene.turn.now
    if root.well:
        return "nothing: all is as wanted"
    if acting:
        return f"{root.subject} is being worked at"
    if name in scene.wanted.stopped:
        return f"nothing until somebody asks: 'pyorch start {name}'"
    if not scene.active(name):
        return f"nothing until somebody asks: 'pyorch up {name}'"
    if slot is None:
        return f"nothing until somebody asks: 'pyorch scale {name}=1'"
    if hold is None:
        return f"its checks go on; when {name} is ready, what waits for it follows"
    if rest := healing.suspension(scene, name):
        return f"its suspension ends in {span(rest[0] - now)}, or by 'pyorch resume'; until then nothing is done to it"
    if hold.until is not None:
        return f"{root.subject} is looked at again in {span(hold.until - now)}, without anybody's help"
    if hold.failed:
        return _way_out(name, slot)
    if hold.outlook == "asked":
        ended = slot.container is not None and slot.container.phase == "exited"
        return "nothing until somebody asks" + (f": 'pyorch start {name}'" if ended else "")
    if hold.outlook == "parked":
        return "nothing by itself: it waits for room, or for a service that was stopped by hand"
    return "it goes on as soon as what it waits for is there"


def _way_out(name: str, slot: Slot) -> str:
    """What only its user can do."""
    container = slot.container
    if container is not None and container.phase == "running":
        return f"it is not restarted; should its checks pass again, it is well; 'pyorch restart {name}' tries"
    if container is not None and container.exits and container.exits[-1].cause == "oom":
        return f"nothing by itself: raise the memory limit of {name}, or find what takes it; then 'pyorch up'"
    return f"nothing by itself: put right what ails {name}, then 'pyorch up'"
