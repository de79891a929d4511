"""The stacks of a checkout, read and checked before anything is touched."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Sequence

from orchestrator.agent.sources.allow import objections
from orchestrator.agent.sources.record import Source
from orchestrator.agent.sources.reveal import opener
from orchestrator.errors import Mistake
from orchestrator.stack import contents
from orchestrator.stack.load import load
from orchestrator.stack.model import Material, Stack
from orchestrator.stack.reading import Reader

External = Callable[[Material], bytes | None]


def stacks_of(source: Source, tree: str, external: External) -> list[Stack]:
    """Every stack that `source.path` leads to below `tree`; `external`: what this machine keeps under a name. Raises
    Mistake with all complaints there are."""
    found = matches(tree, source.path)
    if not found:
        raise Mistake(f"cannot sync {source.name}: the repository has no {source.path}")
    stacks: dict[str, Stack] = {}
    complaints: list[str] = []
    for file in found:
        reader = Reader(within=tree, reveal=opener(source.age_key))
        try:
            stack = load([file], directory=os.path.dirname(file), environment=source.environment, reader=reader)
            stack = contents.read(stack, external, reader)
        except Mistake as mistake:
            complaints += mistake.complaints
            continue
        if stack.name in stacks:
            complaints.append(f"cannot sync {source.name}: two of its files make a stack {stack.name!r}")
        complaints += objections(stack, source.allow, tree)
        stacks[stack.name] = stack
    if complaints:
        raise Mistake(*complaints)
    return list(stacks.values())


def matches(tree: str, pattern: str) -> list[str]:
    """The files below `tree` whose path is like `pattern` (`*` within a name, `**` for any directories), sorted. Links
    to directories are not followed: they may lead in a circle, or out of the repository."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not any(sign in pattern for sign in "*?["):
        path = os.path.join(tree, *parts)
        return [path] if os.path.lexists(path) else []
    found = []
    for directory, _, files in os.walk(tree):
        below = os.path.relpath(directory, tree)
        steps = [] if below == "." else below.split("/")
        found += [os.path.join(directory, file) for file in files if _like([*steps, file], parts)]
    return sorted(found)


def _like(steps: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not steps
    if parts[0] == "**":
        return any(_like(steps[skipped:], parts[1:]) for skipped in range(len(steps) + 1))
    return bool(steps) and fnmatch.fnmatchcase(steps[0], parts[0]) and _like(steps[1:], parts[1:])
