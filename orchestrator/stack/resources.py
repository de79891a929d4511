"""The stack's volumes, and what volumes and networks have in common: names, labels, being somebody else's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.stack.context import Context, text
from orchestrator.stack.model import Volume
from orchestrator.stack.places import Path


def volumes(context: Context, written: dict[str, Any], used: Iterable[str]) -> dict[str, Volume]:
    """Those of the written volumes that some service mounts. All written ones are checked."""
    made: dict[str, Volume] = {}
    for key, data in written.items():
        external, name = name_of(context, data or {}, ("volumes", key), key)
        if external:
            only(context, data or {}, ("volumes", key))
        made[key] = Volume(key, name, external, labels((data or {}).get("labels")), _writers(context, data or {}, key))
    return {key: made[key] for key in sorted(set(used)) if key in made}


def _writers(context: Context, data: dict[str, Any], key: str) -> int | None:
    writers = (data.get("x-pyorch") or {}).get("writers")
    if writers is not None and writers < 1:
        context.complain(("volumes", key, "x-pyorch", "writers"), f"expected 1 or more, but found {writers}")
    return writers


def name_of(context: Context, data: dict[str, Any], path: Path, key: str) -> tuple[bool, str]:
    """(external, name on the host). `external: {name: x}` is the obsolete form of `external: true` and `name: x`."""
    external, name = data.get("external", False), data.get("name")
    if isinstance(external, dict):
        context.complaints.warn(
            context.marks, (*path, "external"), "external.name is obsolete; write name: beside external: true"
        )
        return True, external.get("name") or name or key
    if name is not None and (not name or "/" in name or name.startswith(".")):
        context.complain(
            (*path, "name"), f"expected a name without '/' that does not begin with '.', but found {name!r}"
        )
    return external, name or (key if external else f"{context.stack}_{key}")


def only(context: Context, data: dict[str, Any], path: Path) -> None:
    for key in data:
        if key not in ("external", "name") and not key.startswith("x-"):
            context.complain((*path, key), f"'{key}' cannot be set: it is external and made by somebody else", key=True)


def labels(written: dict[str, Any] | None) -> dict[str, str]:
    return {key: text(value) for key, value in (written or {}).items()}
