"""Thousands of random worlds from their seeds: roll-outs, canaries, jobs, hooks, edits at any moment, agents that die
in the middle. Whatever happens: it settles, at what is wanted, and nobody is away who need not be.

PYORCH_SEEDS=N plays N seeds (200; `make test`: 2000); PYORCH_SEED=N plays only that one, and prints its history where
it fails.
"""

from __future__ import annotations

import os
from dataclasses import replace
from random import Random

import pytest
from toy import Broken, Life, Nature, Toy, check_starts

from orchestrator.health.check import Check
from orchestrator.policy.restart import RestartPolicy
from orchestrator.policy.rollout import Rollout
from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.goal import settled
from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.plan import Plan, TakeBack
from orchestrator.reconcile.replica import count
from orchestrator.reconcile.world import Wanted
from orchestrator.stack.model import Dependency, Healing, Hook, Service, Stack, Volume

SEEDS = int(os.environ.get("PYORCH_SEEDS", "200"))
LOTS = 10  # tests that the seeds are dealt to
TURNS = 400
BAD = Nature(lives=(Life(lasts=0.05, code=1),))


@pytest.mark.parametrize("lot", range(LOTS))
def test_random_worlds_settle_at_what_is_wanted(lot: int) -> None:
    chosen = os.environ.get("PYORCH_SEED")
    for seed in [int(chosen)] if chosen else range(lot, SEEDS, LOTS):
        game = Game(Random(seed))
        try:
            game.play()
        except (Broken, AssertionError) as error:
            history = "\n".join(game.toy.history[-60:])
            raise AssertionError(f"seed {seed}: {error}\n{history}") from error


def service(chance: Random, name: str, others: list[str]) -> Service:
    job = chance.random() < 0.15
    checked = not job and chance.random() < 0.5
    policy = None
    if chance.random() < 0.6:
        policy = Rollout(
            chance.choice((0, 1, 2)),
            chance.choice((0.0, 0.0, 0.4)),
            chance.choice(("stop-first", "start-first")),
            chance.choice((0.0, 0.5)),
            failure_action=chance.choice(("pause", "rollback")),
        )
    depends_on = {
        other: Dependency("started", restart=chance.random() < 0.3) for other in others if chance.random() < 0.3
    }
    return Service(
        name,
        "host:/",
        environment={"V": "0"},
        depends_on=depends_on,
        healthcheck=Check(("CMD", "true")) if checked else None,
        restart=RestartPolicy("on-failure" if job else chance.choice(("always", "unless-stopped"))),
        replicas=1 if job else chance.randint(1, 3),
        update=None if job else policy,
        canary=1 if not job and chance.random() < 0.15 else 0,
        job="once-per-change" if job else None,
        pre_start=(Hook(("true",)),) if chance.random() < 0.15 else (),
        healing=Healing(restart=chance.choice(("ignore", "ignore", "reload", "restart"))),
        drain=chance.choice((None, 0.3)),
    )


def bad(one: Service) -> bool:
    return one.environment["V"] == "bad"


class Game:
    """One world, what is wanted of it, and the chance that rules both."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        services: dict[str, Service] = {}
        for name in "abcde"[: chance.randint(1, 5)]:
            services[name] = service(chance, name, list(services))
        jobs = {name for name, one in services.items() if one.job}
        self.toy = Toy(natures={name: Nature(lives=(Life(0.1, 0),)) for name in jobs})
        stack = Stack("shop", "/srv", (), services, volumes={"data": Volume("data", "shop_data", writers=1)})
        self.wanted = Wanted(stack, active=frozenset(services))
        self.good: dict[str, Service] = {}

    def play(self) -> None:
        self.turn_until_quiet(quiet=True)
        for _ in range(self.chance.randint(1, 3)):
            self.edit()
            for _ in range(self.chance.randint(0, 6)):  # the next edit may come in the middle
                self.turn()
        self.turn_until_quiet(quiet=False)
        self.judge()

    # what its user does

    def edit(self) -> None:
        services = dict(self.wanted.stack.services)
        self.good |= {name: one for name, one in services.items() if not bad(one)}
        for name in self.chance.sample(sorted(services), self.chance.randint(1, len(services))):
            version = str(self.chance.randint(1, 10**6))
            if services[name].update and not services[name].job and self.chance.random() < 0.2:
                version = "bad"
            services[name] = replace(services[name], environment={"V": version})
        scale = {
            n: self.chance.randint(0, 4)
            for n, one in services.items()
            if self.chance.random() < 0.1 and not (one.job or one.canary)
        }
        self.toy.natures = {**self.toy.natures, **{f"{name}:bad": BAD for name in services}}
        now = dict.fromkeys(services, self.toy.now)
        self.wanted = replace(
            self.wanted,
            stack=replace(self.wanted.stack, services=services),
            revision=self.wanted.revision + 1,
            proven=False,
            taken_back=frozenset(),
            retries=now,
            scale={**self.wanted.scale, **scale},
        )
        self.toy.history.append(
            f"{self.toy.now:.3f} edit {[(n, s.environment['V']) for n, s in services.items()]} {scale}"
        )

    # what the agent does

    def turn(self) -> Plan:
        world = self.toy.world()
        plan = reconcile([self.wanted], world, self.toy.now)
        if self.chance.random() < 0.02 and plan != reconcile([self.wanted], world, self.toy.now):
            raise Broken("the same world, another plan")
        check_starts(plan, world, [self.wanted])
        for action in plan.actions:
            if isinstance(action, TakeBack):
                self.take_back(action)
            else:
                self.toy.begin(action, self.chance.choice((0.0, 0.01, 0.1)))
        crashed = self.chance.random() < 0.03
        if crashed:
            self.toy.crash(self.chance.random() < 0.5 for _ in range(len(self.toy.deeds)))
        self.note_jobs()
        upcoming = [self.toy.next_event(), *([plan.due] if plan.due is not None else [])]
        self.quiet = min(upcoming) == float("inf") and not plan.actions and not crashed
        if min(upcoming) < float("inf"):
            self.toy.advance(max(min(upcoming), self.toy.now))
        return plan

    def take_back(self, action: TakeBack) -> None:
        services = {**self.wanted.stack.services, **{name: self.good[name] for name in action.services}}
        stack = replace(self.wanted.stack, services=services)
        revision, back = self.wanted.revision + 1, frozenset(action.services)
        self.wanted = replace(self.wanted, stack=stack, revision=revision, taken_back=back)
        self.toy.history.append(f"{self.toy.now:.3f} {action}")

    def note_jobs(self) -> None:
        for being in self.toy.beings.values():
            one = being.container
            if one.phase == "exited" and one.exits[-1].good and one.service in blueprint(self.wanted.stack).jobs:
                self.toy.done |= {(one.stack, one.service, one.slot, one.digest)}

    def turn_until_quiet(self, *, quiet: bool) -> None:
        for number in range(TURNS):
            self.turn()
            if self.quiet:
                break
            if number > TURNS // 3 and self.something_is_bad():
                return  # it keeps ending, and its user was told
        else:
            raise Broken("it does not settle")
        if quiet:
            self.wanted = replace(self.wanted, proven=True)

    def something_is_bad(self) -> bool:
        made = (being.container.service_definition for being in self.toy.beings.values())
        return any(bad(one) for one in (*self.wanted.stack.services.values(), *made) if one is not None)

    def paused(self, plan: Plan) -> bool:
        return any("the roll-out is paused" in hold.why for hold in plan.holds) and not plan.actions

    # what must be so

    def judge(self) -> None:
        world, now = self.toy.world(), self.toy.now
        if self.something_is_bad():
            return
        plan = reconcile([self.wanted], world, now)
        for name, one in self.wanted.stack.services.items():
            running = [c for c in world.containers if c.service == name and c.phase == "running"]
            wanted = count(self.wanted, one)
            if one.job:
                assert ("shop", name, 1, blueprint(self.wanted.stack).digests[name]) in world.done, (
                    f"{name} is not done"
                )
                continue
            assert len(running) == wanted, f"{name}: {len(running)} of {wanted} run\n{plan.text(now)}"
            digest = blueprint(self.wanted.stack).digests[name]
            new = sum(c.digest == digest for c in running)
            if one.canary and new < wanted:
                assert new >= min(one.canary, wanted), f"{name}: {new} canaries"
            elif not self.paused(plan):
                assert new == wanted, f"{name}: only {new} of {wanted} are new\n{plan.text(now)}"
        if self.quiet:
            end = settled(self.wanted, world, plan, "ready")
            assert end.done and not end.failures, f"{end}"
