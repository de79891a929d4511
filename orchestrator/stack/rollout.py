"""How a service changes: `deploy.update_config` and `rollback_config`, its hooks, `x-pyorch` canary, drain and job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from orchestrator import units
from orchestrator.policy.rollout import FailureAction, Order, Rollout
from orchestrator.stack.context import Context, text, words
from orchestrator.stack.model import Hook
from orchestrator.stack.places import Path, did_you_mean

_ACTIONS: tuple[FailureAction, ...] = ("pause", "continue", "rollback")


@dataclass(frozen=True, slots=True)
class Change:
    """What `stack.service` takes over into the Service."""

    update: Rollout | None
    rollback: Rollout | None
    canary: int
    drain: float | None
    job: Literal["once-per-change", "always"] | None
    pre_start: tuple[Hook, ...]
    post_start: tuple[Hook, ...]
    pre_stop: tuple[Hook, ...]


def change(context: Context, data: dict[str, Any], path: Path) -> Change:
    deploy, ours = data.get("deploy") or {}, data.get("x-pyorch") or {}
    canary = int(ours.get("canary") or 0)
    if canary < 0:
        context.complain((*path, "x-pyorch", "canary"), f"expected a number of replicas, but found {canary}")
    return Change(
        _rollout(context, deploy, (*path, "deploy"), "update_config", _ACTIONS),
        _rollout(context, deploy, (*path, "deploy"), "rollback_config", _ACTIONS[:2]),
        max(canary, 0),
        context.read(ours, (*path, "x-pyorch"), "drain", units.duration, None),
        ours.get("job"),
        *(hooks(context, data, path, key) for key in ("pre_start", "post_start", "pre_stop")),
    )


def _rollout(
    context: Context, deploy: dict[str, Any], path: Path, key: str, actions: tuple[FailureAction, ...]
) -> Rollout | None:
    data = deploy.get(key)
    if data is None:
        return None
    here, usual = (*path, key), Rollout()
    ratio = float(data.get("max_failure_ratio") or 0.0)
    if not 0 <= ratio <= 1:
        context.complain((*here, "max_failure_ratio"), f"expected a share between 0 and 1, but found {ratio:g}")
    parallelism = data.get("parallelism")
    if parallelism is not None and parallelism < 0:
        context.complain((*here, "parallelism"), f"expected a number of replicas (0: all), but found {parallelism}")
    order: Order = data.get("order") or usual.order
    return Rollout(
        usual.parallelism if parallelism is None else int(parallelism),
        context.read(data, here, "delay", units.duration, usual.delay),
        order,
        context.read(data, here, "monitor", units.duration, usual.monitor),
        ratio,
        context.read(data, here, "failure_action", lambda word: _action(word, actions), usual.failure_action),
    )


def _action(word: str, actions: tuple[FailureAction, ...]) -> FailureAction:
    for action in actions:
        if word == action:
            return action
    raise ValueError(f"expected {', '.join(actions)}, but found {word!r}{did_you_mean(word, actions)}")


def hooks(context: Context, data: dict[str, Any], path: Path, key: str) -> tuple[Hook, ...]:
    written = enumerate(data.get(key) or ())
    return tuple(_hook(context, one, (*path, key, n)) for n, one in written if one is not None)


def _hook(context: Context, data: dict[str, Any], path: Path) -> Hook:
    if data.get("privileged"):
        context.complain(
            (*path, "privileged"),
            "is part of the Compose Specification but pyorch does not obey it in hooks; remove it",
            key=True,
        )
    written = data.get("environment") or {}
    if isinstance(written, list):
        written = {name: value if equals else None for name, equals, value in (str(w).partition("=") for w in written)}
    environment = {
        name: text(value) if value is not None else context.environment.get(name, "") for name, value in written.items()
    }
    nothing: tuple[str, ...] = ()
    command = context.read(data, path, "command", words, nothing)
    if not command:
        context.complain((*path, "command"), "the command is empty", key=True)
    user = text(data["user"]) if data.get("user") is not None else None
    return Hook(command, user, data.get("working_dir") or None, environment)
