"""How images are shown: Docker's fields of a row, and its templates."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any


def docker_row(row: dict[str, Any], full: bool) -> dict[str, str]:
    from orchestrator.cli.image_work import age, amount, short

    size = amount(row["size"])
    return {
        "Containers": str(row["Containers"]),
        "CreatedAt": row["created"],
        "CreatedSince": age(row["created"]),
        "Digest": row["Digest"],
        "ID": short(row["ID"], full),
        "Platform": row["Platform"],
        "Repository": row["Repository"],
        "SharedSize": "N/A",
        "Size": size,
        "Tag": row["Tag"],
        "UniqueSize": "N/A",
        "VirtualSize": size,
    }


def formatted(rows: list[dict[str, Any]], form: str) -> str:
    """A line a row: JSON, or docker's template as far as fields and `json` go. Mistake for what goes further."""
    import json
    import re

    if form == "json":
        return "".join(f"{json.dumps(row, ensure_ascii=False, separators=(',', ':'))}\n" for row in rows)

    def value(row: Any, path: str) -> Any:
        for key in filter(None, path.split(".")):
            if not isinstance(row, dict) or key not in row:
                from orchestrator.errors import Mistake

                raise Mistake(f"cannot format: there is no field {path}")
            row = row[key]
        return row

    def filled(row: dict[str, Any]) -> str:
        def one(found: re.Match[str]) -> str:
            wanted = value(row, found[2])
            return json.dumps(wanted, ensure_ascii=False) if found[1] or not isinstance(wanted, str) else wanted

        return re.sub(r"\{\{\s*(json\s+)?(\.[\w.]*)\s*\}\}", one, form.replace("\\t", "\t").replace("\\n", "\n"))

    return "".join(f"{filled(row)}\n" for row in rows)


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
