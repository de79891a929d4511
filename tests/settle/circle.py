"""The circle in miniature: decide, check, do, let time pass; until nothing is left to do and nothing is to come."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import rules
from toy import Broken, Toy

from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.plan import Plan
from orchestrator.reconcile.world import Wanted


def play(
    toy: Toy,
    wanted: Sequence[Wanted],
    takes: Iterable[float],
    *,
    turns: int = 500,
    crashes: Iterable[int] = (),
    watch: Callable[[Toy], None] = lambda toy: None,
) -> Plan:
    """Turn the circle until nothing is left to do and nothing is to be expected; the last plan.

    `takes`: seconds that each deed needs, one after the other. `crashes`: numbers of the turns in which the agent dies.
    `watch` sees the world before each turn.
    """
    times, deadly = iter(takes), set(crashes)
    for turn in range(turns):
        watch(toy)
        world = toy.world()
        plan = reconcile(wanted, world, toy.now)
        if plan != reconcile(wanted, world, toy.now):
            raise Broken("the same world, another plan")
        rules.check(plan, world, wanted, toy.now)
        for action in plan.actions:
            toy.begin(action, next(times, 0.01))
        if turn in deadly:
            toy.crash(bool((turn + n) % 2) for n in range(len(toy.deeds)))
            continue
        upcoming = min(toy.next_event(), plan.due if plan.due is not None else math.inf)
        if upcoming == math.inf:
            return plan
        toy.advance(max(upcoming, toy.now))
    raise Broken("it does not settle:\n" + toy.told(40))
