"""The stacks of a checkout, read and checked before anything is touched."""

from __future__ import annotations

import glob
import os

from orchestrator.agent.sources.allow import objections
from orchestrator.agent.sources.record import Source
from orchestrator.errors import Mistake
from orchestrator.stack.load import load
from orchestrator.stack.model import Stack
from orchestrator.stack.reading import Reader, Reveal


def stacks_of(source: Source, tree: str, reveal: Reveal) -> list[Stack]:
    """Every stack that `source.path` leads to below `tree`. Raises Mistake with all complaints there are."""
    found = sorted(glob.glob(os.path.join(glob.escape(tree), source.path), recursive=True))
    if not found:
        raise Mistake(f"cannot sync {source.name}: the repository has no {source.path}")
    stacks: dict[str, Stack] = {}
    complaints: list[str] = []
    for file in found:
        reader = Reader(within=tree, reveal=reveal)
        try:
            stack = load([file], directory=os.path.dirname(file), environment=source.environment, reader=reader)
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
