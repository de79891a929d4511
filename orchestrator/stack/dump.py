"""`pyorch config`: the effective stack as text, in docker compose's order and forms."""

from __future__ import annotations

import json
from typing import Any, Literal

from orchestrator.stack.emit import emit


def dump(shown: dict[str, Any], format: Literal["yaml", "json"] = "yaml", *, escaped: bool = True) -> str:
    """The stack as text. `escaped`: a literal `$` is written `$$`, so that it can be read again."""
    text = emit(shown) if format == "yaml" else json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
    return text.replace("$", "$$") if escaped else text
