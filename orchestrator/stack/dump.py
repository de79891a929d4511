"""`pyorch config`: the effective stack as text, in docker compose's order and forms."""

from __future__ import annotations

import json
from typing import Any, Literal

from orchestrator.stack.emit import emit


def dump(shown: dict[str, Any], format: Literal["yaml", "json"] = "yaml", *, escaped: bool = True) -> str:
    """The stack as text. `escaped`: a literal `$` is written `$$`, so that it can be read again."""
    text = emit(shown) if format == "yaml" else as_json(shown, indent=2) + "\n"
    return text.replace("$", "$$") if escaped else text


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON letter by letter as Go's encoding/json writes it: what could mean something in HTML is escaped."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(_whole(value), indent=indent, separators=separators, ensure_ascii=False)
    for letter in "&<>\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _whole(value: Any) -> Any:
    """Real numbers without a fraction as whole ones, as JSON has no other kind to Go."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value
