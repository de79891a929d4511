"""`build`: how a service's image is made → `Build`. What it names is read when it is built, not here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
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
    network = words.get("network") or ""
    if network not in ("", "default", "none", "host"):
        context.complain((*path, "network"), f"must be default, none or host, not {network!r}")
    _refuse(context, words, path)
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
        host_network="network.host" in listed(words.get("entitlements")),
        shm_size=context.read(words, path, "shm_size", units.size, None),
        extra_hosts=context.read(words, path, "extra_hosts", _hosts, {}),
        ulimits=_ulimits(words.get("ulimits") or {}),
        secrets=_secrets(words.get("secrets") or ()),
        contexts=context.read(words, path, "additional_contexts", lambda value: _contexts(context, value), {}),
        cache_from=tuple(_caches_taken(context, words, path)),
        cache_to=tuple(_caches_given(context, words, path)),
    )


def _refuse(context: Context, words: dict[str, Any], path: Path) -> None:
    """Values of words that are known, but not obeyed in every form."""
    for right in listed(words.get("entitlements")):
        if right != "network.host":
            context.complain((*path, "entitlements"), f"{right!r} is refused: steps run confined as services do")
    for key in ("provenance", "sbom"):
        if str(words.get(key, "false")).lower() not in ("false", "disabled=true"):
            context.complain((*path, key), "is refused: attestations are not made; write false, or remove it", key=True)


def _directory(context: Context, word: str) -> str:
    if _remote(word):
        return word
    if "://" in word:
        raise ValueError(f"{word!r} is not fetched: a context is a directory or a git repository")
    return context.host_path(word)


def _remote(word: str) -> bool:
    """Whether it is a repository's address: see `images.build.sources`, which reads it."""
    address, _, _ = word.partition("#")
    scheme, separator, rest = address.partition("://")
    if separator:
        known = ("git", "ssh", "file", "git+ssh", "git+https", "git+file")
        return scheme in known or (scheme in ("http", "https") and rest.rstrip("/").endswith(".git"))
    return bool(re.match(r"(github\.com|gitlab\.com|bitbucket\.org)/|[\w.-]+@[\w.-]+:", address))


def _caches_taken(context: Context, words: dict[str, Any], path: Path) -> Iterator[str]:
    """References of images."""
    for number, word in enumerate(listed(words.get("cache_from"))):
        kind, options = _cache(word)
        if kind == "registry" and options.get("ref"):
            yield options["ref"]
        elif kind == "local" and options.get("src"):
            yield f"oci:{context.host_path(options['src'])}"
        else:
            context.complain(
                (*path, "cache_from", number),
                f"{word!r} is refused: write an image, type=registry,ref=IMAGE or type=local,src=DIRECTORY",
            )


def _caches_given(context: Context, words: dict[str, Any], path: Path) -> Iterator[tuple[str, str, bool]]:
    for number, word in enumerate(listed(words.get("cache_to"))):
        kind, options = _cache(word)
        of_all = options.get("mode") == "max"
        if kind == "inline":
            yield kind, "", False
        elif kind == "registry" and options.get("ref"):
            yield kind, options["ref"], of_all
        elif kind == "local" and options.get("dest"):
            yield kind, context.host_path(options["dest"]), of_all
        else:
            known = "type=inline, type=registry,ref=IMAGE or type=local,dest=DIRECTORY"
            context.complain((*path, "cache_to", number), f"{word!r} is refused: write {known}")


def _cache(word: str) -> tuple[str, dict[str, str]]:
    """(kind, options); a bare word is an image of a registry, or of a transport (`oci:/dir`)."""
    if "=" not in word:
        return "registry", {"ref": word}
    options = dict(part.strip().partition("=")[::2] for part in word.split(","))
    return options.get("type", ""), options


def _hosts(value: Any) -> dict[str, str]:
    return {name: addresses[0] for name, addresses in extra_hosts(value).items() if addresses}


def _contexts(context: Context, value: Any) -> dict[str, str]:
    return {name: _named(context, where) for name, where in paired(value).items()}


def _named(context: Context, where: str) -> str:
    """A named context: a directory, a repository, an image, or another service's."""
    if where.startswith(("service:", "docker-image://")):
        return where
    if where.startswith("oci-layout://"):
        path, at, digest = where.removeprefix("oci-layout://").partition("@")
        if at:
            raise ValueError(f"{where!r}: a layout's image is named by its tag here, not by {digest}")
        return f"docker-image://oci:{context.host_path(path)}"
    return _directory(context, where)


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
