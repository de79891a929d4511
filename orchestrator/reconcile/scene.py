"""One wanted stack beside what there is of it: each of its slots, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from orchestrator.policy.restart import Again, Exit, describe, next_start
from orchestrator.reconcile import drift, healing, rollout
from orchestrator.reconcile.blueprint import blueprint, dependency_order
from orchestrator.reconcile.everywhere import everywhere
from orchestrator.reconcile.plan import Outlook
from orchestrator.reconcile.replica import Replica, changes, count
from orchestrator.reconcile.slot import Slot
from orchestrator.reconcile.turn import Turn
from orchestrator.reconcile.world import Container, Wanted
from orchestrator.stack.model import Service

NAMED_CHANGES = 3  # a sentence, not a list


@dataclass(frozen=True, slots=True)
class Unmet:
    """A need of a service that is not met; `failed` and `outlook` as in `Hold`."""

    why: str
    failed: bool = False
    outlook: Outlook = "soon"


@dataclass(frozen=True, slots=True)
class Met:
    """Needs that are met; `remark` where that is not evident."""

    remark: str = ""


class Scene:
    """One wanted stack beside what there is of it, and what this turn has decided about it.

    `shaken`: service → why it makes way for a moment. `touched`: containers that this turn stops, to be started again
    or replaced. `stuck`: those whose replacement has to wait: they go on as they are, and others may count on them.
    `services`: those of the file, and those that an earlier revision had and nobody has taken away yet.
    """

    def __init__(self, turn: Turn, wanted: Wanted) -> None:
        self.turn = turn
        self.wanted = wanted = everywhere(wanted, turn.world)
        self.stack = wanted.stack
        self.blueprint = blueprint(wanted.stack)
        self.services: Mapping[str, Service] = wanted.stack.services
        self.order = self.blueprint.order
        if wanted.orphans:
            self.services = {**wanted.orphans, **wanted.stack.services}
            self.order = dependency_order(self.services)
        self.containers = turn.containers.get(self.stack.name, {})
        self.shaken: dict[str, str] = {}
        self.touched: set[str] = set()
        self.stuck: set[str] = set()
        self.needs: dict[str, Met | Unmet] = {}  # by service, see `needs.check`
        turn.room.claims[self.stack.name] = self.claims
        self.gang: str | None = None  # why nothing of it starts; "": all of it fits (see `admission`)
        turn.scenes[self.stack.name] = self
        self._slots: dict[str, tuple[Slot, ...]] = {}
        self._rolling: dict[str, rollout.Rolling | None] = {}

    @cached_property
    def weights(self) -> dict[str, int]:
        """By service: the highest priority of itself and of all that need it, directly or through others."""
        found = {name: service.placement.priority for name, service in self.services.items()}
        for name in reversed(self.order):  # those who need it have been seen
            for needed in self.services[name].depends_on:
                if needed in found:
                    found[needed] = max(found[needed], found[name])
        return found

    def active(self, service: str) -> bool:
        return service in self.wanted.active or (service in self.wanted.orphans and service not in self.stack.services)

    def runs(self, service: str) -> bool:
        """It is to run: asked for, and not stopped by hand."""
        return self.active(service) and service not in self.wanted.stopped

    def makes_way(self, slot: Slot) -> bool:
        """This turn stops it, or will as soon as those that follow it have stopped."""
        return slot.replica.name in self.touched or slot.replica.service in self.shaken

    def digest(self, service: str) -> str | None:
        """None for an orphan: it stays what it is, there is nothing in the file to compare it with."""
        return self.blueprint.digests.get(service)

    def meant(self, service: str) -> str:
        """The digest of its definition, an orphan's too."""
        return self.blueprint.replica(self.services[service], 0).digest

    def slots(self, service: str) -> tuple[Slot, ...]:
        """The places of a service that are wanted; while its replicas are replaced, one or the other more."""
        made = self._slots.get(service)
        if made is None:
            made = self._slots[service] = self._places(self.services[service])
        return made

    def rolling(self, service: str) -> rollout.Rolling | None:
        """How far the replacement of its replicas is; None where none of an older version runs."""
        self.slots(service)
        return self._rolling.get(service)

    def _places(self, definition: Service) -> tuple[Slot, ...]:
        name, there = definition.name, self.containers.get(definition.name, {})
        filled = {number: self._slot(definition, number, container) for number, container in there.items()}
        if rollout.starts_first(self, definition, filled):
            filled |= self._on_their_way(definition, filled)
            made = self._rolling[name] = rollout.begin(self, definition, filled)
            numbers = rollout.surge(self, made, count(self.wanted, definition), filled)
        else:
            numbers = chosen(count(self.wanted, definition), there, self.digest(name), self._leaving(definition, there))
        slots = tuple(filled.get(number) or self._slot(definition, number, None) for number in numbers)
        if name not in self._rolling and (rollout.watched(self, definition) or any([slot.outdated for slot in slots])):
            self._rolling[name] = rollout.begin(self, definition, {slot.replica.slot: slot for slot in slots})
        return slots

    def _on_their_way(self, definition: Service, filled: Mapping[int, Slot]) -> dict[int, Slot]:
        """Replicas that are just being made: there is nothing of them in the world yet but that."""
        prefix = f"{self.stack.name}-{definition.name}-"
        ends = (name.removeprefix(prefix) for name in self.turn.world.making if name.startswith(prefix))
        numbers = (int(end) for end in ends if end.isdigit())
        return {n: self._slot(definition, n, None) for n in numbers if n not in filled and n > 0}

    def _leaving(self, definition: Service, there: Mapping[int, Container]) -> frozenset[int]:
        """Mode global: a drained node has no place of the service any more."""
        if not definition.placement.everywhere or not self.turn.drained:
            return frozenset()
        return frozenset(number for number, one in there.items() if one.node in self.turn.drained)

    def surplus(self, service: str) -> list[Container]:
        """Containers in places that are not wanted, highest slot first."""
        there, slots = self.containers.get(service), self.slots(service)
        if not there:
            return []
        kept = {slot.replica.slot for slot in slots}
        return [there[number] for number in sorted(there.keys() - kept, reverse=True)]

    def claims(self, container: Container) -> bool:
        """A container that does not run just now, and whose room is not for others: it will be back."""
        if container.service not in self.services or not self.runs(container.service):
            return False
        return any(slot.container is container and slot.comes_back for slot in self.slots(container.service))

    def _slot(self, definition: Service, number: int, container: Container | None) -> Slot:
        replica = self.blueprint.replica(definition, number)
        if container is None:
            return Slot(replica, done=self._done(definition, number))
        outdated, asked = self._outdated(container, replica), self.wanted.restarts.get(definition.name)
        restart = "restart asked" if _older(container, asked) else None
        if container.phase != "exited":
            return Slot(replica, container, outdated, restart)
        # Restarting it by hand, or asking for it again, forgives what failed before.
        exits = since(container.exits, asked)
        if exits and not (exits[-1].good and definition.restart.ends):
            exits = since(exits, self.wanted.retries.get(definition.name))
        mine = healing.blameless(self, definition, exits)
        if exits and not mine and definition.restart.condition != "no":  # then no budget of its own is spent
            why = f"{describe(exits[-1])} while what it needs was down"
            return Slot(replica, container, outdated, restart, Again(exits[-1].at, why))
        exits = mine or exits
        policy = next_start(drift.policy(definition, exits), exits, self.turn.now, patience=definition.patience)
        return Slot(replica, container, outdated, restart, policy)

    def _done(self, definition: Service, number: int) -> bool:
        """A job that has run to a good end with this definition and these inputs; slot 0: the `pre_start` hooks."""
        job = number == 0 or (definition.name in self.blueprint.jobs and definition.job != "always")
        return job and (self.stack.name, definition.name, number, self.meant(definition.name)) in self.turn.world.done

    def unprepared(self, service: str) -> bool:
        """Its `pre_start` hooks have not run yet for what it means now."""
        definition = self.services[service]
        if not definition.pre_start or self._done(definition, 0):
            return False
        return not any(c.digest == self.meant(service) for c in self.containers.get(service, {}).values())

    def _outdated(self, container: Container, replica: Replica) -> str | None:
        service = container.service
        if self.digest(service) not in (None, container.digest):
            found = changes(container.meaning, replica.meaning, self.stack, service) or ("its definition changed",)
            more = f"; and {len(found) - NAMED_CHANGES} more" if len(found) > NAMED_CHANGES else ""
            return "; ".join(found[:NAMED_CHANGES]) + more
        return "recreate asked" if _older(container, self.wanted.recreate.get(service)) else None


def chosen(
    wanted: int, there: Mapping[int, Container], digest: str | None, leaving: frozenset[int] = frozenset()
) -> list[int]:
    """The slots to have: what exists goes before what does not, up to date before obsolete, low before high. Those
    that are `leaving` are none of them, and their numbers are not free yet."""
    if len(there) == wanted and not leaving:
        return sorted(there)
    stays = [number for number in there if number not in leaving]
    kept = sorted(stays, key=lambda n: (digest is not None and there[n].digest != digest, n))[:wanted]
    free = (n for n in range(1, wanted + len(there) + 1) if n not in there)
    return sorted([*kept, *(n for n, _ in zip(free, range(wanted - len(kept)), strict=False))])


def since(exits: tuple[Exit, ...], mark: float | None) -> tuple[Exit, ...]:
    return exits if mark is None else tuple(exit for exit in exits if exit.at >= mark)


def _older(container: Container, mark: float | None) -> bool:
    """Its present or latest run began before the mark."""
    started = container.exits[-1].started if container.phase == "exited" and container.exits else container.started
    return mark is not None and started is not None and started < mark
