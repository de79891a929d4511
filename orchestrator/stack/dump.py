"""`pyorch config`: the effective stack as text, in docker compose's order and forms."""

from __future__ import annotations

import json
from typing import Any, Literal

import yaml

from orchestrator.stack.tree import List, Map


class _Dumper(yaml.CSafeDumper):
    """Every value written out where it stands, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(Map, lambda dumper, data: dumper.represent_dict(data.items()))
_Dumper.add_representer(List, lambda dumper, data: dumper.represent_list(data))


def dump(shown: dict[str, Any], format: Literal["yaml", "json"] = "yaml", *, escaped: bool = True) -> str:
    """The stack as text. `escaped`: a literal `$` is written `$$`, so that it can be read again."""
    if format == "json":
        text = json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
    else:
        text = yaml.dump(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return text.replace("$", "$$") if escaped else text
