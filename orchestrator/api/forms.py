"""The forms that requests and answers share: lists of names, a body as a dataclass, progress as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import fields
from typing import Any, TypeVar

from orchestrator.agent.watch import Progress
from orchestrator.api.http import Request
from orchestrator.errors import Mistake

Body = TypeVar("Body")


async def ndjson(progress: Progress) -> AsyncIterator[bytes]:
    async for lines in progress:
        yield "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def names(body: dict[str, Any], key: str) -> list[str]:
    value = body.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Mistake(f"cannot read the request: {key!r} must be a list of names")
    return value


def body_of(kind: type[Body], request: Request) -> Body:
    """The JSON body as a dataclass; what is null has its default. Raises Mistake."""
    written = {key: value for key, value in request.json().items() if value is not None}
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(written) - known):
        raise Mistake(f"cannot read the request: unknown field {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    try:
        return kind(**written)
    except TypeError as error:
        raise Mistake(f"cannot read the request: {error}") from None
