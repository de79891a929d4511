"""The stacks of a checkout, read and checked before anything is touched."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable

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
    found = sorted(glob.glob(os.path.join(glob.escape(tree), source.path), recursive=True))
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
