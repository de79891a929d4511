"""`!reset` and `!override`: what lay below goes before the new value is laid over it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.stack.places import Path
from orchestrator.stack.tree import Map


def apply(tree: Map, resets: Iterable[Path]) -> None:
    """Remove what stands at the paths; what does not stand there is no mistake, and of a list nothing is taken out."""
    for path in resets:
        branch: Any = tree
        for step in path[:-1]:
            branch = branch.get(str(step)) if isinstance(branch, Map) else None
        if isinstance(branch, Map) and path:
            branch.drop(str(path[-1]))
