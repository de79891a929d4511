"""`build`: how a service's image is made → `Build`. What it names is read when it is built, not here."""

from __future__ import annotations

import os
from typing import Any

from orchestrator import units
from orchestrator.stack.context import Context, text
from orchestrator.stack.forms import listed, paired
from orchestrator.stack.lookup import extra_hosts
from orchestrator.stack.model import Build
from orchestrator.stack.places import Path


def build(context: Context, data: dict[str, Any], path: Path) -> Build | None:
    """None where the service is not built here."""
    value = data.get("build")
    if value is None:
        return None
    words: dict[str, Any] = {"context": value} if isinstance(value, str) else value
    path = (*path, "build")
    if words.get("dockerfile") and words.get("dockerfile_inline"):
        context.complain((*path, "dockerfile_inline"), "excludes dockerfile: write one of the two", key=True)
    if words.get("cache_from"):
        context.complaints.warn(
            context.marks, (*path, "cache_from"), "has no effect: steps are kept in this machine's own cache"
        )
    network = words.get("network") or ""
    if network not in ("", "default", "none"):
        context.complain((*path, "network"), f"must be default or none, not {network!r}: steps see no host's network")
    return Build(
        context=context.read(words, path, "context", lambda word: _directory(context, word), context.directory),
        dockerfile=str(words.get("dockerfile") or ""),
        inline=str(words.get("dockerfile_inline") or ""),
        arguments=_arguments(context, words),
        target=str(words.get("target") or ""),
        platform=_platform(context, words, data, path),
        labels=paired(words.get("labels")),
        tags=tuple(listed(words.get("tags"))),
        no_cache=bool(words.get("no_cache")),
        no_cache_stages=tuple(listed(words.get("no_cache_filter"))),
        pull=bool(words.get("pull")),
        network=network if network != "default" else "",
        shm_size=context.read(words, path, "shm_size", units.size, None),
        extra_hosts=context.read(words, path, "extra_hosts", _hosts, {}),
        ulimits=_ulimits(words.get("ulimits") or {}),
        secrets=_secrets(words.get("secrets") or ()),
        contexts={name: _named(context, where) for name, where in paired(words.get("additional_contexts")).items()},
    )


def _directory(context: Context, word: str) -> str:
    if "://" in word or word.startswith(("git@", "github.com/")):
        raise ValueError(f"{word!r} is not fetched: clone it, and name the directory")
    return context.host_path(word)


def _hosts(value: Any) -> dict[str, str]:
    return {name: addresses[0] for name, addresses in extra_hosts(value).items() if addresses}


def _named(context: Context, where: str) -> str:
    """A named context: a directory, or an image; another service's image goes by that service's name."""
    if where.startswith("service:"):
        return f"docker-image://{context.stack}-{where.removeprefix('service:')}"
    return where if where.startswith("docker-image://") else context.host_path(where)


def _arguments(context: Context, words: dict[str, Any]) -> dict[str, str]:
    """A name without value takes the caller's, or is left out."""
    written = words.get("args") or {}
    pairs: list[tuple[str, Any]]
    if isinstance(written, dict):
        pairs = [(str(name), value) for name, value in written.items()]
    else:
        pairs = [
            (name, value if equals else None) for name, equals, value in (w.partition("=") for w in listed(written))
        ]
    found = {}
    for name, value in pairs:
        if value is not None:
            found[name] = text(value)
        elif name in context.environment:
            found[name] = context.environment[name]
    return found


def _platform(context: Context, words: dict[str, Any], data: dict[str, Any], path: Path) -> str:
    platforms = listed(words.get("platforms"))
    if len(platforms) > 1:
        context.complain((*path, "platforms"), f"names {len(platforms)}: an image is built for one platform at a time")
    return platforms[0] if platforms else str(data.get("platform") or "")


def _ulimits(written: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {
        name: (int(one), int(one)) if not isinstance(one, dict) else (int(one["soft"]), int(one["hard"]))
        for name, one in written.items()
    }


def _secrets(written: Any) -> dict[str, str]:
    """id in the Dockerfile → key of the top-level `secrets:`."""
    found = {}
    for one in written:
        if one is None:
            continue  # complained about already
        source = one if isinstance(one, str) else str(one.get("source") or "")
        target = source if isinstance(one, str) else str(one.get("target") or source)
        found[os.path.basename(target)] = source
    return found
