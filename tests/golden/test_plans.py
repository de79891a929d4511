"""Each file in plans/ is one claim: a stack and a world in YAML, and the plan as people read it.

The stack is written as Compose writes it, as far as these cases need it. `world.containers` gives each container's
phase, and of what definition it was made where that differs from the stack (`was`). Times are seconds; `now` is 100.
Run with PYORCH_GOLDEN=write to write the plans anew, and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.health.check import Check, Result, Verdict
from orchestrator.policy.restart import Exit, RestartPolicy
from orchestrator.policy.rollout import Rollout
from orchestrator.reconcile.goal import settled
from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.replica import digest, meaning
from orchestrator.reconcile.world import Container, Failure, Wanted, World
from orchestrator.scheduler.node import PRIORITY, Node, Request
from orchestrator.stack.model import (
    Attachment,
    Dependency,
    Healing,
    Hook,
    Mount,
    Network,
    Origin,
    Placement,
    Service,
    Stack,
    Volume,
)

CASES = sorted((Path(__file__).parent / "plans").glob("*.txt"))
NOW = 100.0


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_plan(case: Path) -> None:
    given, _, expected = case.read_text().partition("\n--- plan\n")
    told = yaml.safe_load(given)
    wanted = [wanted_from(one) for one in told["stacks"]] if "stacks" in told else [wanted_from(told)]
    world = world_from(told.get("world", {}), wanted)
    plan = reconcile(wanted, world, NOW)
    said = plan.text(NOW)
    if goal := told.get("goal"):
        end = settled(wanted[0], world, plan, goal)
        said += f"\n--- {goal}: {'done' if end.done else 'not yet'}"
        said += "".join(f"\nfailed  {subject}: {why}" for subject, why in end.failures)
        said += "".join(f"\npending {subject}: {why}" for subject, why in end.pending)
    if os.environ.get("PYORCH_GOLDEN") == "write":
        case.write_text(f"{given}\n--- plan\n{said}\n")
    else:
        assert said.strip("\n") == expected.strip("\n")


def wanted_from(told: Mapping[str, Any]) -> Wanted:
    """A stack, and beside it what its user asked for: every service, unless `active` says less."""
    services = {name: service_from(name, body or {}) for name, body in told.get("services", {}).items()}
    name = told.get("name", "shop")
    networks = {
        key: Network(key, (body or {}).get("name", f"{name}_{key}"), external=(body or {}).get("external", False))
        for key, body in told.get("networks", {}).items()
    }
    volumes = {
        key: Volume(
            key,
            (body or {}).get("name", f"{name}_{key}"),
            external=(body or {}).get("external", False),
            writers=(body or {}).get("writers"),
        )
        for key, body in told.get("volumes", {}).items()
    }
    origins = {path: Origin("/srv/stack.yaml", line, 1) for path, line in told.get("origins", {}).items()}
    ours = {"x-pyorch": told["x-pyorch"]} if "x-pyorch" in told else {}
    stack = Stack(name, "/srv", ("/srv/stack.yaml",), services, networks, volumes, ours, origins)
    asked = told.get("asked", {})
    return Wanted(
        stack,
        active=frozenset(asked.get("active", services)),
        stopped=frozenset(asked.get("stopped", ())),
        restarts=asked.get("restarts", {}),
        unfollowed=frozenset(asked.get("unfollowed", ())),
        recreate=asked.get("recreate", {}),
        retries=asked.get("retries", {}),
        orphans={key: service_from(key, body or {}) for key, body in asked.get("orphans", {}).items()},
        scale=asked.get("scale", {}),
        down=asked.get("down", False),
        remove_volumes=asked.get("remove_volumes", False),
        grace=asked.get("grace"),
        revision=asked.get("revision", 1),
        proven=asked.get("proven", False),
        suspended={key: (until, why) for key, (until, why) in asked.get("suspended", {}).items()},
        taken_back=frozenset(asked.get("taken_back", ())),
        promoted={name: digest(meaning(services[name], stack)) for name in asked.get("promoted", ())},
    )


def service_from(name: str, body: Mapping[str, Any]) -> Service:
    depends_on = body.get("depends_on", {})
    if isinstance(depends_on, list):
        depends_on = {needed: {} for needed in depends_on}
    check = body.get("healthcheck")
    return Service(
        name,
        body.get("image", "host:/"),
        command=tuple(body["command"].split()) if "command" in body else None,
        environment=body.get("environment", {}),
        depends_on={needed: Dependency(**how) for needed, how in depends_on.items()},
        healthcheck=Check(("CMD", "true"), **check) if check is not None else None,
        restart=restart_from(body.get("restart", {})),
        networks={key: Attachment() for key in body.get("networks", ())},
        mounts=tuple(Mount("volume", target, source) for source, target in body.get("volumes", {}).items()),
        replicas=body.get("replicas", 1),
        reservations=Request(body.get("cpus", 0.0), int(body.get("memory", 0) * (1 << 20))),
        stop_grace_period=body.get("grace", 10.0),
        placement=Placement(priority=body.get("priority", PRIORITY)),
        update=Rollout(**body["update"]) if "update" in body else None,
        rollback=Rollout(**body["rollback"]) if "rollback" in body else None,
        canary=body.get("canary", 0),
        drain=body.get("drain"),
        job=body.get("job"),
        healing=Healing(**{**body.get("healing", {}), "ignore": tuple(body.get("healing", {}).get("ignore", ()))}),
        pre_start=tuple(Hook(tuple(command.split())) for command in body.get("pre_start", ())),
    )


def restart_from(told: str | Mapping[str, Any]) -> RestartPolicy:
    """As in a stack file: a "no" that is written out is more than none at all."""
    return RestartPolicy(**told) if isinstance(told, dict) else RestartPolicy(told, heal=told != "no")  # type: ignore[arg-type]


def world_from(told: Mapping[str, Any], wanted: list[Wanted]) -> World:
    stacks = {one.stack.name: one for one in wanted}
    nodes = told.get("nodes", {"n1": {"cpus": 2, "memory": 4096}})
    return World(
        tuple(
            Node(
                name,
                n["cpus"],
                n["memory"] << 20,
                n.get("ready", True),
                cordoned=n.get("cordoned", False),
                drained=n.get("drained", False),
            )
            for name, n in nodes.items()
        ),
        tuple(container_from(name, body, stacks) for name, body in told.get("containers", {}).items()),
        frozenset(told.get("networks", ())),
        frozenset(told.get("volumes", ())),
        frozenset(told.get("busy", ())),
        {name: Failure(**failure) for name, failure in told.get("failures", {}).items()},
        done=frozenset(job_from(job, stacks) for job in told.get("done", ())),
        futile=told.get("futile", {}),
        making=frozenset(told.get("making", ())),
        slept=told.get("slept", 0.0),
        broken=told.get("broken", {}),
        unnamed=told.get("unnamed", {}),
    )


def job_from(name: str, stacks: Mapping[str, Wanted]) -> tuple[str, str, int, str]:
    """ "shop-migrate-1": done with what its service means now."""
    stack, service, slot = name.split("-")
    wanted = stacks[stack]
    return stack, service, int(slot), digest(meaning(wanted.stack.services[service], wanted.stack))


def container_from(name: str, body: Mapping[str, Any], stacks: Mapping[str, Wanted]) -> Container:
    """`was`: fields of the definition it was made from that differ; `gone`: a definition that no stack has any more."""
    stack, _, rest = name.partition("-")
    service, _, slot = rest.rpartition("-")
    wanted = stacks.get(stack)
    made_from = service_from(service, body.get("gone", {}))
    text: dict[str, str] = {}
    if wanted:
        made_from = wanted.stack.services.get(service) or wanted.orphans.get(service) or made_from
        made_from = replace(made_from, **body.get("was", {}))
        text = meaning(made_from, wanted.stack)
    health = body.get("health")
    last = Result(NOW, body.get("check_code", 1), body.get("said", ""))
    return Container(
        id=f"id-{name}",
        name=name,
        stack=stack,
        service=service,
        slot=int(slot),
        digest=digest(text),
        node=body.get("node", "n1"),
        phase=body["phase"],
        meaning=text,
        started=body.get("started", None if body["phase"] == "created" else 50.0),
        verdict=Verdict(health, 60.0, failing=3 if health == "unhealthy" else 0, last=last) if health else None,
        exits=tuple(Exit(**exit) for exit in body.get("exits", ())),
        bounds_off=body.get("bounds_off"),
        drifted=body.get("drifted", {}),
        reloaded=body.get("reloaded"),
        stop_grace_period=made_from.stop_grace_period,
        service_definition=made_from,
    )
