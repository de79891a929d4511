"""Random stacks. A world draws first which words of the language it knows, then its services: so small worlds differ
much from each other, and each word meets each other one in some of them (swarm testing: Groce et al., ISSTA 2012)."""

from __future__ import annotations

from random import Random

from toy import GOOD, Life, Nature

from orchestrator.health.check import Check
from orchestrator.policy.restart import RestartPolicy
from orchestrator.policy.rollout import FailureAction, Rollout
from orchestrator.scheduler.node import Request
from orchestrator.stack.model import (
    Attachment,
    Dependency,
    Grant,
    Healing,
    Hook,
    Material,
    Mount,
    Network,
    OnChange,
    Placement,
    Service,
    Stack,
    Volume,
)

# What a stack may speak of, what may befall it, and how the game is played; each as likely as not to be in a world.
WORDS = ("checks", "jobs", "hooks", "needs", "follows", "rollouts", "canaries", "writer", "configs", "atomic")
EVENTS = ("bad", "trouble", "kill", "ill", "drift", "stop", "suspend", "restart", "scale", "orphan", "down")
LUCK = ("crash", "ragged", "clock")
ROOM = ("room", "priority", "drain")  # questions to the scheduler, which has tests of its own: in one world of five
SIZES = (1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 4, 7)  # services of a stack: many small ones, and some that are not
CHECK = Check(("CMD", "true"), interval=1.0)
DONE = Nature(lives=(Life(0.1, 0),))
TROUBLE = (Life(0.05, 1), Life(0.5, 137, oom=True), Life(ill=0.2), Life(12.0, 0))
MATERIAL = Material("config", "words", "shop_words", "content", "", "1")


def words(chance: Random) -> frozenset[str]:
    """What this world knows: half of all there is, or a quarter."""
    every = (*WORDS, *EVENTS, *LUCK)
    room = (word for word in ROOM if chance.random() < 0.7) if chance.random() < 0.25 else ()
    bits = chance.getrandbits(len(every))
    if chance.random() < 0.5:
        bits &= chance.getrandbits(len(every))
    return frozenset([*(word for at, word in enumerate(every) if bits >> at & 1), *room])


def stack(chance: Random, known: frozenset[str]) -> Stack:
    services: dict[str, Service] = {}
    for name in "abcdefgh"[: chance.choice(SIZES)]:
        services[name] = service(chance, known, name, services)
    extensions = {"x-pyorch": {"atomic": True}} if "atomic" in known and chance.random() < 0.5 else {}
    return Stack(
        "shop",
        "/srv",
        (),
        services,
        {"default": Network("default", "shop_default")},
        {"data": Volume("data", "shop_data", writers=1)} if any(one.mounts for one in services.values()) else {},
        extensions,
        configs={"words": MATERIAL} if "configs" in known else {},
    )


def service(chance: Random, known: frozenset[str], name: str, others: dict[str, Service]) -> Service:
    job = "jobs" in known and chance.random() < 0.25
    checked = "checks" in known and not job and chance.random() < 0.7
    writer = "writer" in known and not job and chance.random() < 0.3
    canary = "canaries" in known and not job and not writer and chance.random() < 0.4
    grants = (Grant("config", "words", "/words"),) if "configs" in known and chance.random() < 0.5 else ()
    return Service(
        name,
        "host:/",
        environment={"V": "0"},
        depends_on=needs(chance, known, others) if "needs" in known else {},
        healthcheck=CHECK if checked else None,
        restart=restart(chance, job),
        networks={"default": Attachment()} if chance.random() < 0.7 else {},
        mounts=(Mount("volume", "/data", "data"),) if writer else (),
        grants=grants,
        replicas=1 if job or writer else chance.choice((1, 1, 1, 1, 2, 2, 3, 4 if "follows" in known else 0)),
        reservations=chance.choice((Request(0.5), Request(1.0, 1 << 30))) if "room" in known else Request(),
        placement=Placement(priority=chance.choice((20, 50, 80))) if "priority" in known else Placement(),
        update=rollout(chance, ("pause", "continue", "rollback")) if "rollouts" in known and not job else None,
        rollback=rollout(chance, ("pause", "continue")) if "rollouts" in known and chance.random() < 0.3 else None,
        canary=1 if canary else 0,
        job=chance.choice(("once-per-change", "once-per-change", "always")) if job else None,
        pre_start=(Hook(("true",)),) if "hooks" in known and chance.random() < 0.5 else (),
        healing=healing(chance, known),
        on_change=OnChange(chance.choice(("recreate", "reload", "restart", "none"))) if grants else OnChange(),
        drain=chance.choice((None, 0.3)),
    )


def needs(chance: Random, known: frozenset[str], others: dict[str, Service]) -> dict[str, Dependency]:
    found = {}
    for other, there in others.items():
        if chance.random() < 0.4:
            conditions = ["started", "started"]
            conditions += ["healthy"] * 4 if there.checked else []
            conditions += ["completed"] * 4 if there.job else []
            follows = "follows" in known and chance.random() < 0.4
            found[other] = Dependency(chance.choice(conditions), follows, chance.random() < 0.85)  # type: ignore[arg-type]
    return found


def restart(chance: Random, job: bool) -> RestartPolicy:
    if job:
        return RestartPolicy("on-failure")
    limit = chance.choice((None, None, None, 3))
    return RestartPolicy(chance.choice(("always", "unless-stopped")), give_up_after=limit)


def rollout(chance: Random, actions: tuple[FailureAction, ...]) -> Rollout:
    return Rollout(
        chance.choice((0, 1, 1, 2)),
        chance.choice((0.0, 0.0, 0.4)),
        chance.choice(("stop-first", "start-first")),
        chance.choice((0.0, 0.5)),
        chance.choice((0.0, 0.0, 0.4)),
        chance.choice(actions),
    )


def healing(chance: Random, known: frozenset[str]) -> Healing:
    follows = "follows" in known
    return Healing(
        restart=chance.choice(("ignore", "reload", "restart")) if follows else "ignore",
        down=chance.choice(("wait", "wait", "stop")) if follows else "wait",
        drift=chance.choice(("heal", "report")) if "drift" in known else "heal",
        kinds=chance.choice(({}, {"limits": "report"}, {"stopped": "report", "link": "heal"}))
        if "drift" in known
        else {},
        ignore=chance.choice(((), ("address",))) if "drift" in known else (),
    )


def natures(chance: Random, known: frozenset[str], stack: Stack) -> dict[str, Nature]:
    """How its services behave: jobs end; with "trouble", some are late to come up and some come up badly."""
    found = {}
    for name, one in stack.services.items():
        if one.job:
            found[name] = DONE
        elif "trouble" in known and chance.random() < 0.4:
            lives = [chance.choice(TROUBLE) for _ in range(chance.randint(0, 3))]
            found[name] = Nature(chance.choice((0, 0, 1, 2)), (*lives, Life(healthy=chance.choice((0.0, 0.05, 4.0)))))
        else:
            found[name] = GOOD
    return found
