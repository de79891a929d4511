"""Drift: what others have changed behind our back, by kind, and what its stack says is to be done about it.

limits   somebody wrote into the control group of a container
stopped  somebody killed it
link     its interface was removed, set down or taken out of its bridge
address  its address or its way out was removed
config   a config or a secret that it has was written to
network  the bridge of a network was removed, set down, or has lost its address
rules    rules of the packet filter were removed or added
files    the stack file, or what it is read from, was changed and not applied: that is only ever told

`heal` puts it right, `report` tells it, `ignore_drift` does not even tell. What is put right again and again is left
alone (`World.futile`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.policy.restart import Exit, RestartPolicy, describe, setback
from orchestrator.reconcile.plan import Adjust, Hold
from orchestrator.reconcile.slot import Slot
from orchestrator.reconcile.world import Container, Wanted, World
from orchestrator.stack import healing
from orchestrator.stack.model import Service, Stack

if TYPE_CHECKING:
    from orchestrator.reconcile.scene import Scene

REPORTED = "only reported (drift: report)"


def put_right(scene: Scene, container: Container, definition: Service) -> Iterator[Adjust | Hold]:
    """A living container is to be as the file says; what others made of it only where that is to be put right."""
    answers = {kind: definition.healing.answer(kind) for kind in container.drifted}
    mend = tuple(kind for kind, answer in sorted(answers.items()) if answer == "heal")
    told = [f"{kind}: {container.drifted[kind]}" for kind, answer in sorted(answers.items()) if answer == "report"]
    whys = ([container.bounds_off] if container.bounds_off else []) + [container.drifted[kind] for kind in mend]
    if whys:
        why = "; ".join(whys) if container.bounds_off else f"drift: {'; '.join(whys)}"
        failure = scene.turn.world.failures.get(container.name)
        if failure and (until := failure.at + setback(failure.count)) > scene.turn.now:
            yield Hold(container.name, failure.why, until, outlook="failing")
        else:
            yield Adjust(container.name, container.id, why, mend)
    elif told:
        yield Hold(container.name, f"drift: {'; '.join(told)}; {REPORTED}", outlook="asked")


def stopped(scene: Scene, slot: Slot) -> Hold | None:
    """Somebody killed it, and it is to be left so until its user asks again."""
    last, service = (slot.container.exits[-1:] if slot.container else ()), slot.replica.service
    if not last or last[0].cause != "stopped" or slot.replica.definition.healing.answer("stopped") == "heal":
        return None
    if max(scene.wanted.retries.get(service, 0.0), scene.wanted.restarts.get(service, 0.0)) > last[0].at:
        return None
    return Hold(slot.replica.name, f"drift: stopped: {describe(last[0])} by somebody else; {REPORTED}", outlook="asked")


def policy(definition: Service, exits: Sequence[Exit]) -> RestartPolicy:
    """Its restart policy; where the file asks in so many words that what somebody stopped is healed, and says nothing
    of restarts, such an end is answered by one."""
    written = definition.restart
    asked = definition.healing.kinds.get("stopped") == "heal" and written.condition == "no" and written.heal
    return replace(written, condition="on-failure") if asked and exits and exits[-1].cause == "stopped" else written


def broken(stack: Stack, network: str, world: World) -> tuple[str, bool]:
    """(what somebody else has done to a network, whether that is put right); ("", True): nobody has."""
    why = world.broken.get(network, "")
    return why, not why or healing.of_stack(stack).answer("network") == "heal"


def of_stack(stack: Stack, kind: str) -> str:
    """What is done about what belongs to a stack as a whole."""
    return healing.of_stack(stack).answer(kind)


def of_all(wanted: Sequence[Wanted], kind: str) -> str:
    """What is done about what belongs to all stacks: it is put right if one of them wants that."""
    answers = {healing.of_stack(one.stack).answer(kind) for one in wanted if not one.down}
    return next((answer for answer in ("heal", "report", "ignore") if answer in answers), "heal")
