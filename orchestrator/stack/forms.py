"""The two forms that many keys of the Compose Specification have: a list for a map, and a text for a list."""

from __future__ import annotations

from typing import Any

from orchestrator.stack.context import text


def listed(value: Any) -> list[str]:
    """ "a", ["a", "b"] or nothing → a list of texts."""
    if value is None or value == "":
        return []
    return [text(word) for word in value if word is not None] if isinstance(value, list) else [text(value)]


def paired(value: Any) -> dict[str, str]:
    """{"A": 1} or ["A=1", "B"] or nothing → a map of texts; a name without value has the empty text."""
    if isinstance(value, dict):
        return {str(name): text(one) for name, one in value.items()}
    pairs = (word.partition("=") for word in listed(value))
    return {name: one for name, _, one in pairs}
