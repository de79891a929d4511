"""Containers of `run`: made from a service, for one command, beside its replicas and unknown to the decider.

Their slot is negative: no replica's is. No service name and no port of the service leads to them, unless asked; they go
with their stack, or when they have ended where `remove` was asked.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.agent.containers import Record
from orchestrator.errors import Conflict, Missing, Mistake
from orchestrator.policy.restart import RestartPolicy
from orchestrator.reconcile.ground import beneath
from orchestrator.reconcile.plan import Remove, Start, Stop
from orchestrator.reconcile.replica import Replica
from orchestrator.reconcile.world import Wanted
from orchestrator.stack import mounts, ports, short
from orchestrator.stack.context import Context, words
from orchestrator.stack.model import Mount, Service
from orchestrator.stack.places import Complaints
from orchestrator.stack.reading import Reader

if TYPE_CHECKING:
    from orchestrator.agent.circle import Circle

MARK = "x-pyorch-run"  # what was asked of a run, kept where its service has its own remarks
GRACE = 10.0  # seconds, where nobody says otherwise


@dataclass(frozen=True, slots=True)
class Run:
    """The body of POST /v1/stacks/NAME/run: a service, and in what its container differs from a replica.

    `command` None: the service's own. `volumes` and `publish`: the short forms of a stack file; paths are absolute.
    """

    service: str
    command: list[str] | None = None
    entrypoint: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    user: str | None = None
    working_dir: str | None = None
    volumes: list[str] = field(default_factory=list)
    publish: list[str] = field(default_factory=list)
    cap_add: list[str] = field(default_factory=list)
    cap_drop: list[str] = field(default_factory=list)
    service_ports: bool = False
    use_aliases: bool = False
    remove: bool = False
    tty: bool = False
    stdin: bool = True
    detach: bool = False
    rows: int | None = None
    cols: int | None = None


def definition(wish: Wanted, asked: Run, name: str) -> Service:
    """The service as this one container of it is to be. Raises Mistake."""
    service = wish.stack.services.get(asked.service)
    if service is None:
        raise Mistake(f"no such service: {asked.service}; the stack has {', '.join(sorted(wish.stack.services))}")
    stack = wish.stack
    publish = "0.0.0.0" if (stack.extensions.get("x-pyorch") or {}).get("publish") == "any" else "127.0.0.1"
    context = Context(stack.name, stack.directory, {}, {}, Complaints(), Reader())
    try:
        published = tuple(port for word in asked.publish for port in ports.one(word, publish))
        mounted = tuple(_mount(context, word) for word in asked.volumes)
        entrypoint = service.entrypoint if asked.entrypoint is None else words(asked.entrypoint)
    except ValueError as error:
        raise Mistake(f"cannot run {asked.service!r}: {error}") from None
    targets = {mount.target for mount in mounted}
    command = asked.command if asked.command is not None else None if asked.entrypoint else service.command
    alone = {key: replace(attached, ipv4_address=None, mac_address=None) for key, attached in service.networks.items()}
    if not asked.use_aliases:
        alone = {key: replace(attached, aliases=()) for key, attached in alone.items()}
    return replace(
        service,
        name=name,
        container_name=name,
        command=None if command is None else tuple(command),
        entrypoint=entrypoint,
        environment={**service.environment, **asked.environment},
        labels={**service.labels, **asked.labels},
        user=asked.user or service.user,
        working_dir=asked.working_dir or service.working_dir,
        mounts=(*(mount for mount in service.mounts if mount.target not in targets), *mounted),
        ports=(*(service.ports if asked.service_ports else ()), *published),
        networks=alone,
        cap_add=(*service.cap_add, *asked.cap_add),
        cap_drop=(*service.cap_drop, *asked.cap_drop),
        healthcheck=None,
        healthcheck_disabled=True,
        pre_start=(),
        replicas=1,
        restart=RestartPolicy("no"),
        sandbox=replace(service.sandbox, tty=asked.tty, stdin_open=asked.stdin),
        extensions={MARK: {"remove": asked.remove, "use_aliases": asked.use_aliases}},
    )


def _mount(context: Context, word: str) -> Mount:
    long = short.volume(word)
    passed_on = (long.get("bind") or {}).get("propagation")
    if strange := [*short.unknown_options(word), *([passed_on] if passed_on and long["type"] == "volume" else ())]:
        raise ValueError(
            f"expected mount options ro, rw, z, Z, nocopy, or rslave … of a bind, but found {strange[0]!r}"
        )
    return mounts.long(context, long, ())


async def start(circle: Circle, stack: str, asked: Run) -> Record:
    """Make and start the container; what it stands on is made first. Raises what stands in the way."""
    wish = circle.wishes.get(stack)
    if wish is None or wish.down:
        raise Missing(f"cannot run {asked.service!r}: stack {stack!r} is not up here")
    name = asked.name or f"{stack}-{asked.service}-run-{secrets.token_hex(6)}"
    if circle.containers.named(name) is not None:
        raise Conflict(f"cannot run {asked.service!r}: there is a container {name!r} already")
    made = definition(wish, asked, name)
    for action in list(beneath(wish.stack, made, circle.observe())):
        await circle.by_hand(action, wish)
    slot = min((record.slot for record in circle.containers.of(stack)), default=0)
    replica = Replica(stack, asked.service, min(slot, 0) - 1, name, "", {}, made)
    await circle.by_hand(Start(name, replica, circle.node.name, "run", None), wish)
    record = circle.containers.named(name)
    if record is None:
        raise Missing(f"cannot run {asked.service!r}: its container has gone already")
    return record


def over(circle: Circle) -> list[Remove]:
    """Those that have ended, were to be removed then, and whose last words nobody is reading any more."""
    return [
        Remove(record.name, record.id, "its run is over")
        for record in circle.containers
        if record.one_off and record.phase == "exited" and (record.definition.extensions.get(MARK) or {}).get("remove")
        if record.id not in circle.attached
    ]


def has_names(record: Record) -> bool:
    """Whether the names of its service lead to it too."""
    return bool((record.definition.extensions.get(MARK) or {}).get("use_aliases"))


async def end(circle: Circle, stack: str, services: list[str], grace: float | None) -> None:
    """All of a stack (or of these services), for they go with it."""
    for record in circle.containers.of(stack):
        if record.one_off and (not services or record.service in services):
            if record.phase == "running":
                patience = GRACE if grace is None else grace
                await circle.by_hand(Stop(record.name, record.id, "down", record.stop_signal, patience))
            if circle.containers.get(record.id) is not None:
                await circle.by_hand(Remove(record.name, record.id, "down"))
