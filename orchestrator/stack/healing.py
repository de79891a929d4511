"""How a service is kept well: `x-pyorch` on_dependency, on_change, reload, drift, ignore_drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from orchestrator.stack.context import Context
from orchestrator.stack.model import Healing, OnChange, Stack
from orchestrator.stack.places import Path
from orchestrator.stack.signals import signal_name


def on_change(data: dict[str, Any]) -> OnChange:
    """`x-pyorch.on_change`; its form was checked by the schema."""
    written, usual = (data.get("x-pyorch") or {}).get("on_change") or {}, OnChange()
    return OnChange(written.get("config") or usual.config, written.get("secret") or usual.secret)


def drift(ours: Mapping[str, Any], usual: Healing) -> Healing:
    """What an `x-pyorch` says of drift, over what is said above it (`usual`); its form was checked by the schema."""
    written, ignore = ours.get("drift"), (*usual.ignore, *(ours.get("ignore_drift") or ()))
    if isinstance(written, str):  # one word for every kind; in so many words for what has its own policy, too
        word: Literal["heal", "report"] = "report" if written == "report" else "heal"
        return replace(usual, drift=word, kinds={"stopped": word}, ignore=ignore)
    return replace(usual, kinds={**usual.kinds, **(written or {})}, ignore=ignore)


def of_stack(stack: Stack) -> Healing:
    """What a stack as a whole says of drift: for what belongs to no one service (networks, rules, files)."""
    return drift(stack.extensions.get("x-pyorch") or {}, Healing())


def healing(context: Context, data: dict[str, Any], path: Path) -> Healing:
    """Their form was checked by the schema."""
    ours, here = data.get("x-pyorch") or {}, (*path, "x-pyorch")
    dependency, reload = ours.get("on_dependency") or {}, ours.get("reload") or {}
    usual = drift(ours, context.drift)
    return replace(
        usual,
        restart=dependency.get("restart") or usual.restart,
        down=dependency.get("down") or usual.down,
        reload_signal=context.read(reload, (*here, "reload"), "signal", signal_name, usual.reload_signal),
    )
