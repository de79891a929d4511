"""What a container's control group holds it to, compared with what its definition says: one is made like the other.

The definition may have changed (limits are obeyed on the living container), or somebody wrote into the control group.
"""

from __future__ import annotations

import json
import os
from typing import Any

from orchestrator.agent.containers import Record, read, write_text
from orchestrator.agent.state import group_of
from orchestrator.root import Root
from orchestrator.runtime.spec import resources
from orchestrator.units import exact_bytes


def wanted(record: Record, ceiling: int) -> dict[str, Any]:
    return resources(record.definition, ceiling)


def _kept(spec: dict[str, Any]) -> dict[str, Any]:
    """Which devices it may open, and how much of a disk it may have, stays as it was made."""
    made = spec["linux"]["resources"]
    return {key: made[key] for key in ("devices", "blockIO") if key in made}


def off(root: Root, record: Record, ceiling: int) -> str | None:
    """What is otherwise than the definition says, in words; None where nothing is."""
    spec = read(root.bundle(record.id), "config.json")
    if spec is None or record.phase == "created":
        return None
    due = wanted(record, ceiling) | _kept(spec)
    if spec["linux"]["resources"] != due:
        return f"its limits changed: {_told(spec['linux']['resources'], due)}"
    return edited(root, record, ceiling) if record.phase == "running" else None


def edited(root: Root, record: Record, ceiling: int) -> str | None:
    """A limit of the living control group that somebody has changed by hand."""
    return group_of(root, record).differs(wanted(record, ceiling))


def files(root: Root, record: Record, ceiling: int) -> list[str]:
    """Of its living control group, those that hold what `edited` compares."""
    return group_of(root, record).limiting(wanted(record, ceiling))


def adjust(root: Root, record: Record, ceiling: int) -> None:
    """Rewrite the limits of the living container, and of its next start. Raises OSError: then nothing is promised."""
    due = wanted(record, ceiling)
    if record.phase == "running":
        group_of(root, record).limit(due)
    bundle = root.bundle(record.id)
    spec = read(bundle, "config.json")
    assert spec is not None, "a container that was made has its spec"
    spec["linux"]["resources"] = due | _kept(spec)
    write_text(os.path.join(bundle, "config.json.new"), json.dumps(spec), 0o600)
    os.replace(os.path.join(bundle, "config.json.new"), os.path.join(bundle, "config.json"))


def _told(old: dict[str, Any], new: dict[str, Any]) -> str:
    words = []
    for controller in sorted(old.keys() | new.keys()):
        was, now = old.get(controller) or {}, new.get(controller) or {}
        for key in sorted(was.keys() | now.keys()):
            if was.get(key) != now.get(key):
                words.append(f"{controller}.{key} {_amount(key, was.get(key))} → {_amount(key, now.get(key))}")
    return ", ".join(words)


def _amount(key: str, value: Any) -> str:
    if value is None:
        return "unset"
    if key in ("limit", "swap", "reservation") and isinstance(value, int) and value > 0:
        return exact_bytes(value)
    return str(value)
