"""One random world, played: its user edits, stops, scales and suspends; its containers die, are ill, are tampered with;
its agent dies. In the end all troubles end, and then everything must be as it is wanted, in so many turns.

The game does what the agent does with a plan (see `agent.circle`), and nothing more.
"""

from __future__ import annotations

import math
import traceback
from dataclasses import replace
from random import Random

import rules
import worlds
from toy import GOOD, Broken, Life, Nature, Toy

from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.goal import Settled, settled
from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.plan import Plan, TakeBack
from orchestrator.reconcile.replica import contents, count
from orchestrator.reconcile.world import Wanted
from orchestrator.scheduler.node import Node
from orchestrator.stack.model import Service, Stack

TURNS = 300  # in which everything must be well, once all troubles have ended
PATIENCE = 12  # turns in which it may come to rest, while there may be trouble
BAD = Nature(lives=(Life(lasts=0.05, code=1),))
DRIFTS = ("limits", "link", "address", "config")
LARGE = Node("large", 1000.0, 1 << 50)


class Game:
    """`good`: the newest stack that has no bad version in it."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = Random(seed)
        self.known = known = worlds.words(chance)
        stack = worlds.stack(chance, known)
        nodes = (Node("n1", 3.0, 8 << 30),) if "room" in known else (LARGE,)
        if "drain" in known:
            nodes = (*nodes, Node("n2", 2.0, 8 << 30))
        self.toy = Toy(nodes, worlds.natures(chance, known, stack), given=self.given)
        self.wanted = Wanted(stack, active=frozenset(stack.services))
        self.good = stack
        self.versions = 0
        self.plan = Plan()
        self.end = Settled(False)

    def given(self, service: Service) -> dict[str, str]:
        return contents(service, self.wanted.stack)

    def play(self) -> None:
        """Raises AssertionError where a rule is broken, or the end is not as it must be."""
        self.turn_until_quiet(PATIENCE)
        events = [name for name in ("edit", *worlds.EVENTS, "drain") if name == "edit" or name in self.known]
        for _ in range(self.chance.choice((1, 1, 2, 2, 3))):
            getattr(self, f"_{self.chance.choice(events)}")()
            for _ in range(self.chance.choice((0, 1, 2, 4, PATIENCE))):  # the next event may come in the middle
                if self.turn():
                    break
        self.end_of_troubles()
        if not self.turn_until_quiet(TURNS):
            raise Broken(f"it does not settle\n{self.plan.text(self.toy.now)}")
        self.judge()
        if self.chance.random() < 0.15:
            self.wanted = replace(self.wanted, down=True, remove_volumes=self.chance.random() < 0.5)
            if not self.turn_until_quiet(TURNS) or self.toy.beings or self.toy.networks:
                raise Broken(f"it does not go down\n{self.plan.text(self.toy.now)}")

    # --- what its user does

    def up(self, stack: Stack, **changes: object) -> None:
        """A new revision of the stack, asked for by `up`: what failed before is forgiven."""
        self.toy.advance(self.toy.now + 0.001)
        names = frozenset(stack.services)
        if not any(map(is_bad, self.wanted.stack.services.values())):
            self.good = self.wanted.stack
        wanted = replace(
            self.wanted,
            stack=stack,
            revision=self.wanted.revision + (stack != self.wanted.stack),
            active=names,
            stopped=frozenset(),
            retries=dict.fromkeys(names, self.toy.now),
            proven=self.wanted.proven and stack == self.wanted.stack,
            taken_back=frozenset(),
            down=False,
        )
        self.wanted = replace(wanted, **changes)  # type: ignore[arg-type]
        self.say("up " + ", ".join(f"{name}={one.environment['V']}" for name, one in stack.services.items()))

    def some(self) -> list[str]:
        """One service or more."""
        names = list(self.wanted.stack.services)
        return self.chance.sample(names, self.chance.randint(1, len(names)))

    def version(self, good: bool) -> dict[str, str]:
        self.versions += 1
        return {"V": f"{'' if good else 'bad'}{self.versions}"}

    def _edit(self) -> None:
        services = dict(self.wanted.stack.services)
        for name in self.some():
            services[name] = replace(services[name], environment=self.version(good=True))
        stack = replace(self.wanted.stack, services=services)
        if stack.configs and self.chance.random() < 0.5:
            said = {"words": replace(worlds.MATERIAL, digest=str(self.versions))}
            stack = replace(stack, configs=said)
        self.up(stack)

    def _bad(self) -> None:
        """A version that ends soon after each start."""
        services = dict(self.wanted.stack.services)
        for name in self.some():
            if not services[name].job:
                services[name] = replace(services[name], environment=self.version(good=False))
                self.toy.natures = {**self.toy.natures, f"{name}:{services[name].environment['V']}": BAD}
        self.up(replace(self.wanted.stack, services=services))

    def _scale(self) -> None:
        fixed = [n for n, one in self.wanted.stack.services.items() if one.job or one.canary or one.mounts]
        scale = {name: self.chance.randint("follows" in self.known, 4) for name in self.some() if name not in fixed}
        self.up(self.wanted.stack, scale={**self.wanted.scale, **scale})

    def _restart(self) -> None:
        now, chosen = self.toy.now, self.some()
        if self.chance.random() < 0.5:
            self.wanted = replace(self.wanted, restarts={**self.wanted.restarts, **dict.fromkeys(chosen, now)})
        else:
            self.wanted = replace(self.wanted, recreate={**self.wanted.recreate, **dict.fromkeys(chosen, now)})
            self.toy.done = frozenset(job for job in self.toy.done if job[1] not in chosen)
        self.say(f"restart or make anew {chosen}")

    def _stop(self) -> None:
        self.wanted = replace(self.wanted, stopped=frozenset(self.some()))
        self.say(f"stop {sorted(self.wanted.stopped)}")

    def _suspend(self) -> None:
        key = self.chance.choice(["*", *self.wanted.stack.services])
        until = self.toy.now + self.toy.slept + self.chance.choice((1, 60))
        self.wanted = replace(self.wanted, suspended={key: (until, "a look at the disk")})
        self.say(f"suspend {key} until {until}")

    def _orphan(self) -> None:
        """The file loses a service that nobody needs; what runs of it may stay for a while."""
        services = dict(self.wanted.stack.services)
        name, one = services.popitem()
        if services:
            orphans = {name: one} if self.chance.random() < 0.5 else {}
            self.up(replace(self.wanted.stack, services=services), orphans=orphans)

    def _down(self) -> None:
        self.wanted = replace(self.wanted, down=True, remove_volumes=self.chance.random() < 0.5)
        self.say("down")

    # --- what befalls it

    def victims(self) -> list[str]:
        return [name for name, one in self.toy.beings.items() if one.container.phase == "running"]

    def _kill(self) -> None:
        for name in self.victims():
            if self.chance.random() < 0.5:
                code, cause = self.chance.choice(((137, "exited"), (137, "oom"), (1, "exited"), (0, "exited")))
                self.toy.end(name, code, cause)  # type: ignore[arg-type]
                self.say(f"{name} is killed: {code} {cause}")

    def _trouble(self) -> None:
        self._kill()

    def _ill(self) -> None:
        for name in self.victims():
            if self.toy.beings[name].container.verdict is not None and self.chance.random() < 0.6:
                self.toy.sicken(name)
                self.say(f"{name} is ill")

    def _drift(self) -> None:
        """Somebody tampers: with the limits of a container, with a network."""
        for name in self.victims():
            if self.chance.random() < 0.5:
                kinds = self.chance.sample(DRIFTS, 2)
                drifted = dict.fromkeys(kinds, "somebody was here")
                self.toy.become(name, **self.chance.choice(({"drifted": drifted}, {"bounds_off": "pids changed"})))
            elif self.chance.random() < 0.2:
                self.toy.end(name, 137, "stopped")
        if self.chance.random() < 0.5:
            self.toy.broken = dict.fromkeys(self.toy.networks, "its bridge was removed")
            self.toy.networks.clear()
        self.say("somebody tampers")

    def _drain(self) -> None:
        nodes = list(self.toy.nodes)
        at = self.chance.randrange(len(nodes))
        nodes[at] = replace(nodes[at], drained=self.chance.random() < 0.7, cordoned=self.chance.random() < 0.3)
        self.toy.nodes = tuple(nodes)
        self.say(f"{nodes[at].name} is drained or cordoned")

    def end_of_troubles(self) -> None:
        """Versions are good, room is there, nobody is stopped, and who runs goes on well from here."""
        toy, services = self.toy, self.wanted.stack.services
        for being in toy.beings.values():
            one = being.container.service_definition
            if one is not None and not one.job:
                being.life = Life()
        toy.natures = {name: worlds.DONE if one.job else GOOD for name, one in services.items()}
        toy.nodes = tuple(replace(LARGE, name=node.name) for node in toy.nodes)
        bad = [name for name, one in services.items() if is_bad(one)]
        cured = {name: replace(services[name], environment=self.version(good=True)) for name in bad}
        self.up(
            replace(self.wanted.stack, services={**services, **cured}),
            promoted=blueprint(self.wanted.stack).digests,
            orphans={},
        )
        self.wanted = replace(self.wanted, promoted=blueprint(self.wanted.stack).digests)
        self.say("the end of troubles")

    # --- what the agent does

    def turn(self) -> bool:
        """One turn; whether nothing is left to do and nothing is to come."""
        toy, chance = self.toy, self.chance
        if "clock" in self.known and chance.random() < 0.03:
            if chance.random() < 0.5:
                toy.slept += 3600.0
            else:
                toy.advance(toy.now + 3600.0)  # the agent was held up
        self.note_jobs()
        world = toy.world()
        plan = self.plan = reconcile([self.wanted], world, toy.now)
        if chance.random() < 0.01:
            self.decide_again(world, plan)
        rules.check(plan, world, [self.wanted], toy.now)
        self.bad_is_taken_back(plan)
        takes = chance.choice((0.0, 0.01, 0.1))
        for action in plan.actions:
            if isinstance(action, TakeBack):
                self.take_back(action)
            else:
                toy.begin(action, chance.choice((0.0, 0.01, 0.3)) if "ragged" in self.known else takes)
        if "crash" in self.known and toy.deeds and chance.random() < 0.1:
            toy.crash(chance.random() < 0.5 for _ in range(len(toy.deeds)))
            return False
        upcoming = min(toy.next_event(), plan.due if plan.due is not None else math.inf)
        if upcoming < math.inf:
            toy.advance(max(upcoming, toy.now))
            return False
        if plan.actions:
            return False
        self.nothing_waits_for_nothing()
        if not self.wanted.down:
            self.end = settled(self.wanted, world, plan, "ready")
            if self.end.proven:
                self.wanted = replace(self.wanted, proven=True)
        return True

    def nothing_waits_for_nothing(self) -> None:
        """Where nothing is left to do and nothing is to come, nobody is told that something will come soon; and who is
        away is said to be."""
        soon = [hold for hold in self.plan.holds if hold.outlook == "soon" and not hold.failed]
        assert not soon, f"nothing will lift this: {soon[0]}"
        wanted, there = self.wanted, [being.container for being in self.toy.beings.values()]
        for name in sorted(wanted.active - wanted.stopped) if not wanted.down else ():
            one = wanted.stack.services.get(name)
            if one is None or one.job:
                continue
            running = sum(c.service == name and c.phase == "running" for c in there)
            told = any(hold.subject.startswith(f"shop-{name}-") for hold in self.plan.holds)
            assert running >= count(wanted, one) or told, f"{running} {name} run, and nobody says why"

    def bad_is_taken_back(self, plan: Plan) -> None:
        """`failure_action: rollback`: a new version whose replica ended at once is not wanted any longer."""
        wanted, digests = self.wanted, blueprint(self.wanted.stack).digests
        if wanted.proven or wanted.down or wanted.suspended or wanted.revision == 1:
            return
        for being in self.toy.beings.values():
            one, service = being.container, wanted.stack.services.get(being.container.service)
            if service is None or one.digest != digests[service.name] or one.phase == "running" or not is_bad(service):
                continue
            policy, last = service.update, one.exits[-1]
            asked_again = max(wanted.retries[service.name], wanted.restarts.get(service.name, 0.0))
            bad = last.code == 1 and last.at - last.started < 0.06 and last.at > asked_again
            tended = service.name in wanted.active - wanted.stopped - wanted.taken_back
            if not (policy and policy.failure_action == "rollback" and not policy.max_failure_ratio and tended and bad):
                continue
            back = any(isinstance(action, TakeBack) for action in plan.actions)
            busy = one.name in [action.subject for _, action in self.toy.deeds]
            assert back or busy, f"{one.name} is bad, and its version is wanted all the same\n{plan.text(self.toy.now)}"

    def decide_again(self, world: object, plan: Plan) -> None:
        """The same world gives the same plan, from a stack that was never seen before too."""
        fresh = replace(self.wanted, stack=replace(self.wanted.stack))
        if plan != reconcile([fresh], self.toy.world(), self.toy.now):
            raise Broken("the same world, another plan")

    def turn_until_quiet(self, turns: int) -> bool:
        return any(self.turn() for _ in range(turns))

    def take_back(self, action: TakeBack) -> None:
        good, present = self.good.services, self.wanted.stack
        names = action.services or tuple(present.services)
        services = {**present.services, **{name: good[name] for name in names if name in good}}
        self.wanted = replace(
            self.wanted,
            stack=replace(present, services=services),
            revision=self.wanted.revision + 1,
            taken_back=frozenset(names),
            retries={**self.wanted.retries, **dict.fromkeys(names, self.toy.now)},
        )
        self.say(str(action))

    def note_jobs(self) -> None:
        for being in self.toy.beings.values():
            one = being.container
            if one.phase != "exited" or not one.exits[-1].good:
                continue
            asked = self.wanted.recreate.get(one.service, 0.0)
            if one.exits[-1].started >= asked and one.service in blueprint(self.wanted.stack).jobs:
                self.toy.note_done(one.stack, one.service, one.slot, one.digest)

    def say(self, what: str) -> None:
        self.toy.say(what)

    # --- what must be so in the end

    def judge(self) -> None:
        world, plan, digests = self.toy.world(), self.plan, blueprint(self.wanted.stack).digests
        for name, one in self.wanted.stack.services.items():
            running = [c for c in world.containers if c.service == name and c.phase == "running"]
            if one.job:
                assert ("shop", name, 1, digests[name]) in world.done, f"{name} is not done\n{plan.text(self.toy.now)}"
                continue
            assert len(running) == count(self.wanted, one), f"{len(running)} {name} run\n{plan.text(self.toy.now)}"
            old = [c.name for c in running if c.digest != digests[name]]
            assert not old, f"{old} are of an older version\n{plan.text(self.toy.now)}"
            ill = [c.name for c in running if c.verdict is not None and c.verdict.status != "healthy"]
            assert not ill, f"{ill} are not healthy\n{plan.text(self.toy.now)}"
            tampered = [c.name for c in running if c.bounds_off or "heal" in map(one.healing.answer, c.drifted)]
            assert not tampered, f"{tampered} are as somebody else made them"
            wrong = [c.name for c in running if one.on_change.config != "none" and c.contents != self.given(one)]
            assert not wrong, f"{wrong} have old configs"
            assert "default" not in one.networks or not running or "shop_default" in world.networks, "no network"
        strangers = {c.name for c in world.containers if c.service not in self.wanted.stack.services}
        assert not strangers, f"{strangers} are left"
        assert self.end.done and not self.end.failures, f"{self.end}"


def is_bad(one: Service) -> bool:
    return one.environment["V"].startswith("bad")


def play(seed: int) -> str | None:
    """The world of this seed; None where all went well, else what did not, with its history."""
    game = Game(seed)
    try:
        game.play()
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"seed {seed}: {type(error).__name__}: {error} ({where.name}, line {where.lineno})\n{game.toy.told(60)}"
    return None
