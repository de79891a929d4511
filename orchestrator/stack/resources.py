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
        made[key] = _volume(context, key, data or {}, external, name)
    return {key: made[key] for key in sorted(set(used)) if key in made}


def _volume(context: Context, key: str, data: dict[str, Any], external: bool, name: str) -> Volume:
    words = data.get("x-pyorch") or {}
    options = {option: text(value) for option, value in (data.get("driver_opts") or {}).items()}
    path: Path = ("volumes", key, "driver_opts")
    for option in options:
        if option not in ("type", "o", "device"):
            context.complain((*path, option), f"expected type, o or device, but found {option!r}", key=True)
    binds = {"bind", "rbind"} & {*options.get("o", "").split(",")}
    if binds and options.get("device"):
        options |= {"device": context.read(options, path, "device", context.host_path, "")}
    if options and not options.get("device") and options.get("type") != "tmpfs":
        context.complain(path, "'device' is missing: what is to be mounted?", key=True)
    elif options and not options.get("type") and not binds:
        context.complain(path, "'type' is missing: what kind of file system is it?", key=True)
    writers, protect = _writers(context, data, key), bool(words.get("protect", False))
    return Volume(key, name, external, labels(data.get("labels")), writers, options, protect)


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
