"""A bundle's small files: JSON, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping

from orchestrator.launcher.clients import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read_json(path: str) -> Any:
    """None where the file is not there. Raises Refused where it is not JSON."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Refused(f"cannot read {path}: not JSON: {error}") from error


def write_json(path: str, value: Mapping[str, Any]) -> None:
    """By rename: a reader sees the whole old file or the whole new one."""
    file = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(json.dumps(value).encode())
        while rest:  # a disk that is filling up takes a part, and says no to the next
            rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)
    os.rename(path + ".new", path)


def remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
