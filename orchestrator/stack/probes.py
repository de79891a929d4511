"""`x-pyorch: {probes: …}`: startup, ready and live, each asked in one of six ways."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator import units
from orchestrator.health.check import Check
from orchestrator.health.command import Command
from orchestrator.health.file import File
from orchestrator.health.grpc import Grpc
from orchestrator.health.http import Http
from orchestrator.health.log import Log
from orchestrator.health.probe import Probe, Role
from orchestrator.health.tcp import Tcp
from orchestrator.stack.context import Context, text
from orchestrator.stack.model import Probing
from orchestrator.stack.places import Path

KINDS = ("command", "http", "tcp", "grpc", "file", "log")
_ROLES: tuple[Role, ...] = ("startup", "ready", "live")
STARTUP = 60.0  # seconds that a startup probe waits before it gives its container up


def probes(context: Context, data: dict[str, Any], path: Path) -> Mapping[Role, Probing]:
    """Their form was checked by the schema; what is broken is left out."""
    written = (data.get("x-pyorch") or {}).get("probes") or {}
    here = (*path, "x-pyorch", "probes")
    if any(broken[: len(here)] == here for broken in context.complaints.broken):
        return {}
    found = {role: _probing(context, role, written[role], (*here, role)) for role in _ROLES if written.get(role)}
    return {role: probing for role, probing in found.items() if probing is not None}


def _probing(context: Context, role: Role, data: dict[str, Any], path: Path) -> Probing | None:
    kinds = [key for key in KINDS if key in data]
    if len(kinds) != 1:
        context.complain(path, f"expected exactly one of {', '.join(KINDS)}", key=True)
        return None
    try:
        probe = _probe(kinds[0], data[kinds[0]])
    except ValueError as error:
        context.complain((*path, kinds[0]), str(error))
        return None
    return Probing(probe, _check(context, role, data, path))


def _check(context: Context, role: Role, data: dict[str, Any], path: Path) -> Check:
    """Looked at once and then at growing distances, at most `interval`. A startup probe's `timeout` is all the time
    that its container has; that of the others is for one answer."""
    interval = context.read(data, path, "interval", units.duration, 1.0 if role == "startup" else 5.0)
    timeout = context.read(data, path, "timeout", units.duration, STARTUP if role == "startup" else 5.0)
    if role == "startup":
        return Check((), interval, min(interval * 5, timeout), 1, 0.0, interval, deadline=timeout)
    retries = data.get("retries") or 3
    return Check((), interval, timeout, retries, 0.0, interval, deadline=retries * interval)


def _probe(kind: str, value: Any) -> Probe:
    """Raises ValueError for what no schema can tell."""
    match kind:
        case "command":
            args = ("/bin/sh", "-c", value) if isinstance(value, str) else tuple(map(text, value))
            if not args:
                raise ValueError("the command is empty")
            return Command(args)
        case "log":
            return Log(_pattern(value))
        case "file":
            if not value.startswith("/"):
                raise ValueError(f"expected an absolute path in the container, but found {value!r}")
            return File(value)
        case "tcp":
            return Tcp(value["port"])
        case "grpc":
            service = value.get("service") or ""
            if len(service.encode()) > 127:
                raise ValueError("the name of the service has more than 127 bytes")
            return Grpc(value["port"], service)
        case _:
            return _http(value)


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"expected a text or a regular expression, but {value!r} is none: {error}") from None
    return value


def _http(value: dict[str, Any]) -> Http:
    path, headers = value.get("path") or "/", {key: text(one) for key, one in (value.get("headers") or {}).items()}
    if not path.startswith("/") or any(not letter.isprintable() or letter == " " for letter in path):
        raise ValueError(f"expected a path that begins with '/', but found {path!r}")
    if any(not (key + one).isprintable() for key, one in headers.items()):
        raise ValueError("a header has a line break or another control character in it")
    return Http(value["port"], path, headers, value.get("scheme") == "https")
