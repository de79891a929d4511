"""The contents of a stack's configs and secrets, read when the stack is to run: what they say is part of its meaning.

A Stack holds only their digests. The bytes travel beside it (`Stack.contents`) as far as the room that keeps them, and
are never written out with it.
"""

from __future__ import annotations

import hashlib
import os
import stat as modes
from collections.abc import Callable
from dataclasses import replace

from orchestrator.errors import Mistake
from orchestrator.stack.model import Material, Stack
from orchestrator.stack.reading import Reader

LARGEST = 16 << 20  # bytes: each container's copy lies in memory


def read(stack: Stack, external: Callable[[Material], bytes | None], reader: Reader | None = None) -> Stack:
    """The stack with every digest filled in, and with the contents. `external` knows what `pyorch secret` keeps; None:
    it has no such thing. `reader`: the door to the files. Raises Mistake with every content that cannot be had."""
    reader = reader or Reader()
    contents: dict[str, bytes] = {}
    complaints: list[str] = []
    for thing in (*stack.configs.values(), *stack.secrets.values()):
        try:
            contents[thing.id] = _content(stack, thing, external, reader)
        except ValueError as error:
            origin = stack.origin(f"{thing.kind}s.{thing.key}")
            complaints.append(f"{f'{origin}: ' if origin else ''}{thing.kind} '{thing.key}': {error}")
    if complaints:
        raise Mistake(*complaints)

    def seen(thing: Material) -> Material:
        return replace(thing, digest=digest(contents[thing.id]))

    return replace(
        stack,
        configs={key: seen(thing) for key, thing in stack.configs.items()},
        secrets={key: seen(thing) for key, thing in stack.secrets.items()},
        inputs=tuple(dict.fromkeys((*stack.inputs, *reader.seen))),
        contents=contents,
    )


def digest(content: bytes) -> str:
    """32 hex digits that name the content."""
    return hashlib.sha256(content).hexdigest()[:32]


def _content(stack: Stack, thing: Material, external: Callable[[Material], bytes | None], reader: Reader) -> bytes:
    match thing.source:
        case "file":
            return file(thing.where, reader)
        case "environment":
            if thing.id not in stack.contents:
                raise ValueError(f"the variable {thing.where} is not set; set it, or write it into .env")
            return stack.contents[thing.id]
        case "external":
            found = external(thing)
            if found is None:
                raise ValueError(
                    f"there is none called '{thing.name}' here; make it: pyorch secret create {thing.name} FILE"
                )
            return found
        case "content":
            return stack.contents[thing.id]


def file(path: str, reader: Reader) -> bytes:
    """What a config's or secret's file says. Raises ValueError with the reason."""
    try:
        kind = os.stat(path).st_mode
        if modes.S_ISDIR(kind):
            raise ValueError(f"{path} is a directory; mount it with a bind mount")
        if not modes.S_ISREG(kind):  # a FIFO would hold us up
            raise ValueError(f"{path} is not a file")
        content = reader.read(path, LARGEST + 1)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    if len(content) > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST >> 20} MiB; mount it with a bind mount")
    return content
