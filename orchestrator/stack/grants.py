"""`configs` and `secrets`: where their content comes from (top level), and who gets it, where, and as whose (service).

No content is read here but what stands in the file or the environment anyway: see `contents`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from orchestrator.stack.context import Context, text
from orchestrator.stack.environment import CONTENT
from orchestrator.stack.model import Grant, Material
from orchestrator.stack.places import Path, quoted
from orchestrator.stack.resources import labels, name_of

Kind = Literal["config", "secret"]
SOURCES = ("file", "environment", "content", "external")
_HOMES = {"config": "/", "secret": "/run/secrets"}  # where a relative target starts
LARGEST_ID = 2**32 - 2  # chown(2): the last one means "leave it"


def materials(
    context: Context, kind: Kind, written: dict[str, Any], used: Iterable[str]
) -> tuple[dict[str, Material], dict[str, bytes]]:
    """The configs or secrets that some service uses, and the contents known already, by `Material.id`. All written ones
    are checked."""
    made: dict[str, Material] = {}
    contents: dict[str, bytes] = {}
    for key, data in written.items():
        thing = _material(context, kind, key, data or {})
        made[key] = thing
        if thing.source == "content":
            contents[thing.id] = str((data or {}).get("content", "")).encode()
        elif thing.source == "environment" and (value := data.get(CONTENT)) is not None:
            contents[thing.id] = str(value).encode("utf-8", "surrogateescape")
    kept = {key: made[key] for key in sorted(set(used)) if key in made}
    return kept, {thing.id: contents[thing.id] for thing in kept.values() if thing.id in contents}


def _material(context: Context, kind: Kind, key: str, data: dict[str, Any]) -> Material:
    path: Path = (f"{kind}s", key)
    external, name = name_of(context, data, path, key)
    found = [source for source in SOURCES[:3] if data.get(source) is not None]
    if external:
        for other in found:
            context.complain((*path, other), f"'{other}' cannot be set: the {kind} is external", key=True)
        return Material(kind, key, name, "external", name)
    spoilt = {broken[: len(path) + 1] for broken in context.complaints.broken}
    if len(found) > 1 and path not in context.complaints.broken:
        both = " and ".join(found)
        context.complain((*path, found[1]), f"the content comes from {both}; write one of them", key=True)
    elif not found and path not in context.complaints.broken and not {(*path, source) for source in SOURCES} & spoilt:
        ways = "file:, environment: or external: true" if kind == "secret" else "file:, environment: or content:"
        context.complain(path, f"where does the content come from? Write {ways}", key=True)
    if not found:
        return Material(kind, key, name, "content", "")
    match found[0]:
        case "file":
            where = context.read(data, path, "file", context.host_path, "")
            return Material(kind, key, name, "file", where, labels=labels(data.get("labels")))
        case "environment":
            return Material(kind, key, name, "environment", data["environment"], labels=labels(data.get("labels")))
        case _:
            return Material(kind, key, name, "content", "", labels=labels(data.get("labels")))


def grants(context: Context, service: dict[str, Any], path: Path) -> tuple[Grant, ...]:
    """What of them a service gets; of two for one target the later counts, as in Compose."""
    found: dict[str, Grant] = {}
    for kind in ("config", "secret"):
        for index, item in enumerate(service.get(f"{kind}s") or ()):
            here = (*path, f"{kind}s", index)
            if item is None or here in context.complaints.broken:
                continue
            grant = _grant(context, kind, {"source": item} if isinstance(item, str) else item, here)
            if grant is not None:
                found.pop(grant.target, None)
                found[grant.target] = grant
    return tuple(found.values())


def _grant(context: Context, kind: Kind, item: Mapping[str, Any], path: Path) -> Grant | None:
    source = item.get("source")
    if not source:
        context.complain(path, f"'source' is missing: which {kind}?", key=True)
        return None
    target = context.read(item, path, "target", _target, source)
    mode = context.read(item, path, "mode", permissions, 0o444)
    uid, gid = (context.read(item, path, key, _owner, 0) for key in ("uid", "gid"))
    return Grant(kind, source, posixpath.normpath(posixpath.join(_HOMES[kind], target)), uid, gid, mode)


def _target(word: str) -> str:
    if not word.strip("/") or word.endswith("/") or ".." in word.split("/"):
        raise ValueError(f"expected the path of a file in the container, but found {quoted(word)}")
    return word


def _owner(word: Any) -> int:
    if not text(word).isdecimal() or int(text(word)) > LARGEST_ID:
        raise ValueError(
            f"expected a number such as 1000, but found {quoted(word)}: names are known inside the image only"
        )
    return int(text(word))


def permissions(value: Any) -> int:
    """Permission bits: a number as YAML reads it (0755 is octal there), or text in octal."""
    try:
        mode = int(value, 8) if isinstance(value, str) else int(value)
    except ValueError:
        raise ValueError(f"expected permission bits such as 0755, but found {quoted(value)}") from None
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"expected permission bits between 0 and 07777, but found {mode:o}")
    return mode
