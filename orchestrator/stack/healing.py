"""How a service is kept well: `x-pyorch` on_dependency, on_change, reload, drift, ignore_drift."""

from __future__ import annotations

from typing import Any

from orchestrator.stack.context import Context
from orchestrator.stack.model import Healing, OnChange
from orchestrator.stack.places import Path
from orchestrator.stack.signals import signal_name


def on_change(data: dict[str, Any]) -> OnChange:
    """`x-pyorch.on_change`; its form was checked by the schema."""
    written, usual = (data.get("x-pyorch") or {}).get("on_change") or {}, OnChange()
    return OnChange(written.get("config") or usual.config, written.get("secret") or usual.secret)


def healing(context: Context, data: dict[str, Any], path: Path) -> Healing:
    """Their form was checked by the schema."""
    ours, here = data.get("x-pyorch") or {}, (*path, "x-pyorch")
    dependency, reload = ours.get("on_dependency") or {}, ours.get("reload") or {}
    usual = Healing()
    return Healing(
        restart=dependency.get("restart") or usual.restart,
        down=dependency.get("down") or usual.down,
        reload_signal=context.read(reload, (*here, "reload"), "signal", signal_name, usual.reload_signal),
        drift=ours.get("drift") or context.drift,
        ignore=tuple(ours.get("ignore_drift") or ()),
    )
