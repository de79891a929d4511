"""What must not be read by everybody, and who gets more than they need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.stack.lint.finding import Finding, Subject
from orchestrator.stack.places import Path

_SECRET = re.compile(
    r"(?:^|_)(?:PASS(?:WORD|WD|PHRASE)?|PWD|SECRET(?:_KEY)?|TOKEN|API_?KEY|PRIVATE_KEY|ACCESS_KEY|CREDENTIALS?)(?:_|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:_FILE|_PATH|_NAME|_ID|_URL|_TTL|_EXPIR\w*|_LENGTH|_POLICY|_TYPE)$", re.IGNORECASE)
_IN_URL = re.compile(r"://[^/\s:@]+:[^/\s@$]+@")
_EMPTY = ("", "true", "false", "yes", "no", "0", "1")
_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock")


def secret_in_environment(subject: Subject) -> Iterator[Finding]:
    """A password written into the file is in every copy of it, and in `inspect` and `config`."""
    for name, service in subject.services.items():
        build = service.get("build")
        places: list[tuple[Path, Any]] = [(("services", name, "environment"), service.get("environment"))]
        if isinstance(build, Mapping):
            places.append((("services", name, "build", "args"), build.get("args")))
        for path, values in places:
            for key, value in values.items() if isinstance(values, Mapping) else ():
                here = (*path, key)
                if _is_secret(str(key), value) and here in subject.marks and "$" not in subject.written(here):
                    yield Finding(
                        here,
                        "a secret stands in the file",
                        f"write ${{{key}}} and set it outside, or use `secrets:` and {key}_FILE",
                        key=True,
                    )


def _is_secret(name: str, value: object) -> bool:
    text = "" if value is None else str(value)
    if _IN_URL.search(text):
        return True
    return text.lower() not in _EMPTY and bool(_SECRET.search(name)) and not _NO_SECRET.search(name)


def privileged(subject: Subject) -> Iterator[Finding]:
    """A privileged container is root on the host."""
    for name, service in subject.services.items():
        if service.get("privileged") is True:
            yield Finding(
                ("services", name, "privileged"),
                "whoever gets into this container has the whole host",
                "give it the capabilities and devices it needs: cap_add, devices",
                key=True,
            )


def engine_socket(subject: Subject) -> Iterator[Finding]:
    """Who may talk to a container engine may start a privileged container."""
    for name, service in subject.services.items():
        for index, mount in enumerate(service.get("volumes") or ()):
            if isinstance(mount, Mapping) and str(mount.get("source")) in _SOCKETS:
                yield Finding(
                    ("services", name, "volumes", index),
                    f"{mount['source']} gives this container the whole host",
                    "put a proxy between that lets only what is needed through",
                )
