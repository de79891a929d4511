"""What a step means: everything that what it makes depends on, as values whose digest names it in the cache."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from orchestrator.images.build import context, ignore
from orchestrator.images.build.ignore import Rule
from orchestrator.images.build.order import Order
from orchestrator.images.build.plan import Stage
from orchestrator.images.build.reading import Reading
from orchestrator.images.build.state import Copy, Make, Run, Step

Values = list[Any]


def meaning(
    step: Step, stage: Stage, order: Order, hidden: tuple[Rule, ...], reading: Reading, content: str = ""
) -> Values:
    """`content`: the digest of what a COPY reads of another stage, where it is known, instead of all of that stage."""
    match step:
        case Make():
            return ["make", step.path, step.user]
        case Copy():
            words = {key: value for key, value in asdict(step).items() if key != "origin"}
            return ["copy", _plain(sorted(words.items())), content or _read(step, stage, order, hidden, reading)]
        case Run():
            binds = [
                reading.key(mount.origin, stage)
                if mount.origin
                else context.digest(order.context, [mount.source or "."], hidden)
                for mount in step.mounts
                if mount.kind == "bind"
            ]
            words = {key: value for key, value in asdict(step).items() if key != "proxies"}
            hosts = sorted(order.extra_hosts.items())
            return ["run", _plain(sorted(words.items())), binds, order.network, order.shm_size, hosts]


def digest(*parts: Any) -> str:
    """The name of a meaning."""
    text = json.dumps(parts, sort_keys=True, default=list)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _read(step: Copy, stage: Stage, order: Order, hidden: tuple[Rule, ...], reading: Reading) -> Any:
    if step.origin is not None:
        return reading.key(step.origin, stage)
    excluded = ignore.rules(step.excludes)
    local = context.digest(order.context, step.sources, hidden, excluded, step.parents) if step.sources else ""
    return [local, [reading.clone(source)[0] for source in step.repositories]]


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
