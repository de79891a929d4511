"""`logging` of a service → `Logging`. Docker's drivers json-file, local and none; what is kept has our own form."""

from __future__ import annotations

from typing import Any

from orchestrator import units
from orchestrator.stack.context import Context
from orchestrator.stack.model import Logging
from orchestrator.stack.places import Path, did_you_mean

KEPT = ("json-file", "local")
# What the files of Docker's own form would look like, and whether a container waits for them (ours never does).
NO_MATTER = frozenset({"tag", "labels", "labels-regex", "env", "env-regex", "compress", "mode", "max-buffer-size"})
LEAST = 16 << 10


def logging(context: Context, data: dict[str, Any], path: Path) -> Logging:
    written = data.get("logging") or {}
    here, driver = (*path, "logging"), written.get("driver") or "json-file"
    if driver == "none":
        return Logging(kept=False)
    if driver not in KEPT:
        context.complain(
            (*here, "driver"),
            f"driver {driver!r} is not obeyed; pyorch keeps logs itself: write {' or '.join(KEPT)} (read them with"
            " `pyorch logs`), or none",
        )
        return Logging()
    options, below = written.get("options") or {}, (*here, "options")
    for key in options:
        if key not in NO_MATTER | {"max-size", "max-file"}:
            near = did_you_mean(key, ("max-size", "max-file", *NO_MATTER))
            context.complain((*below, key), f"unknown option {key!r} of log driver {driver}{near}", key=True)
    size = context.read(options, below, "max-size", _size, None)
    return Logging(True, size, context.read(options, below, "max-file", _count, None))


def _size(word: Any) -> int | None:
    if str(word).strip() == "-1":
        return None
    size = units.size(word)
    if size < LEAST:
        raise ValueError(f"expected a size of at least {units.human_bytes(LEAST)}, but found {word!r}")
    return size


def _count(word: Any) -> int:
    if not str(word).strip().isdecimal() or int(word) < 1:
        raise ValueError(f"expected a number of files, 1 or more, but found {word!r}")
    return int(word)
