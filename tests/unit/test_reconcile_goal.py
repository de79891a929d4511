"""Whether what was asked for is reached. The golden plans hold the cases that need a whole stack; here, the states of
one container and what each goal says of them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.health.check import Check, Verdict
from orchestrator.policy.restart import Exit, RestartPolicy
from orchestrator.reconcile.goal import Goal, settled
from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.replica import replicas
from orchestrator.reconcile.world import Container, Failure, Wanted, World
from orchestrator.scheduler.node import Node
from orchestrator.stack.model import Service, Stack

NOW = 100.0
CHECK = Check(("CMD", "true"))
PLAIN = Service("web", "host:/")
KEPT_UP = Service("web", "host:/", restart=RestartPolicy("always"))
CHECKED = Service("web", "host:/", restart=RestartPolicy("always"), healthcheck=CHECK)


def ended(*codes: int, cause: Any = "exited") -> tuple[Exit, ...]:
    """Short runs, the last of which ended just now."""
    return tuple(Exit(NOW - 0.2 * n, NOW - 0.2 * n + 0.1, code, None, cause) for n, code in enumerate(codes, 1))[::-1]


def verdict(service: Service, goal: Goal, container: dict[str, Any] | None, **world: Any) -> str:
    """done, waiting or failed."""
    stack = Stack("shop", "/srv", (), {"web": service})
    wanted = Wanted(stack, active=frozenset(["web"]))
    made = replicas(wanted, service)[0]
    there = () if container is None else (
        Container("id", made.name, "shop", "web", 1, made.digest, "n1", started=50.0, **container),
    )  # fmt: skip
    seen = World((Node("n1", 2, 1 << 30),), there, **world)
    end = settled(wanted, seen, reconcile([wanted], seen, NOW), goal)
    return "waiting" if not end.done else "failed" if end.failures else "done"


@pytest.mark.parametrize(
    ("service", "container", "started", "ready"),
    [
        (PLAIN, None, "waiting", "waiting"),
        (PLAIN, {"phase": "created"}, "waiting", "waiting"),
        (PLAIN, {"phase": "running"}, "done", "done"),
        (PLAIN, {"phase": "exited", "exits": ended(0)}, "done", "done"),
        (PLAIN, {"phase": "exited", "exits": ended(1)}, "done", "failed"),
        (CHECKED, {"phase": "running"}, "done", "waiting"),
        (CHECKED, {"phase": "running", "verdict": Verdict("starting", 50)}, "done", "waiting"),
        (CHECKED, {"phase": "running", "verdict": Verdict("healthy", 60)}, "done", "done"),
        (CHECKED, {"phase": "running", "verdict": Verdict("unhealthy", 60, 3)}, "waiting", "failed"),
        (CHECKED, {"phase": "exited", "exits": ended(143, cause="unhealthy")}, "waiting", "failed"),
        (KEPT_UP, {"phase": "exited", "exits": ended(1)}, "waiting", "waiting"),
        (KEPT_UP, {"phase": "exited", "exits": ended(1, 1, 1, 1, 1)}, "done", "waiting"),
        (
            Service("web", "host:/", restart=RestartPolicy("always", give_up_after=2)),
            {"phase": "exited", "exits": ended(1, 1)},
            "failed",
            "failed",
        ),
    ],
)
def test_up_and_up_wait(service: Service, container: dict[str, Any] | None, started: str, ready: str) -> None:
    assert verdict(service, "started", container) == started
    assert verdict(service, "ready", container) == ready


def test_a_first_failure_to_come_up_is_told_at_once_even_while_it_is_tried_again() -> None:
    trouble = {"shop-web-1": Failure(1, NOW - 10, "cannot start: no such command")}
    assert verdict(PLAIN, "started", None, failures=trouble) == "failed"
    assert verdict(PLAIN, "started", None, failures=trouble, busy=frozenset(["shop-web-1"])) == "failed"


def test_what_is_being_worked_at_is_waited_for() -> None:
    assert verdict(PLAIN, "started", {"phase": "running"}, busy=frozenset(["shop-web-1"])) == "waiting"
