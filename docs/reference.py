"""Writes the tables of docs/compose.md, between its marks, from the schema and what is obeyed: `make reference`."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from orchestrator.stack import reference  # noqa: E402

PAGE = ROOT / "docs/compose.md"
BEGIN, END = "<!-- made by `make reference` -->\n", "<!-- up to here -->\n"
PARTS = {
    "The file": ("version", "name", "include", "services", "networks", "volumes", "configs", "secrets", "models"),
    "A service": ("services.*",),
    "A network": ("networks.*",),
    "A volume": ("volumes.*",),
    "A config": ("configs.*",),
    "A secret": ("secrets.*",),
    "A model": ("models.*",),
    "x-pyorch, the whole stack": ("x-pyorch",),
}


def renewed(page: str) -> str:
    """The page with its tables made anew."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + "\n" + tables(reference.entries()) + "\n" + END + rest.partition(END)[2]


def tables(known: dict[str, reference.Entry]) -> str:
    done: set[str] = set()
    parts = []
    for title, roots in PARTS.items():
        deep = title != "The file"
        chosen = [entry for entry in known.values() if entry.path not in done and _belongs(entry.path, roots, deep)]
        done |= {entry.path for entry in chosen}
        parts.append(f"### {title}\n\n{_table(chosen)}")
    assert known.keys() == done, known.keys() - done
    return _sum(known) + "\n" + "\n".join(parts)


def _belongs(path: str, roots: Iterable[str], deep: bool) -> bool:
    if any(path == root for root in roots):
        return True
    below = any(path.startswith((root + ".", root + "[")) for root in roots)
    return below and (deep or path.startswith("include"))


def _sum(known: dict[str, reference.Entry]) -> str:
    kinds = [entry.standing.kind for entry in known.values()]
    obeyed, partly = kinds.count("obeyed"), kinds.count("partly")
    idle, refused = kinds.count("without effect"), kinds.count("refused")
    return (
        f"Of {len(kinds)} keys pyorch obeys {obeyed}, {partly} more with some of their values, and accepts {idle} that"
        f" need nothing done; {refused} are refused by name.\n"
    )


def _table(entries: list[reference.Entry]) -> str:
    rows = ["| key | form | default | what it is | here |", "|---|---|---|---|---|"]
    for entry in entries:
        cells = (
            f"`{entry.path}`" + (" (required)" if entry.required else ""),
            " or ".join(form for form in entry.forms if form != "nothing"),
            "" if entry.default is None else f"`{_word(entry.default)}`",
            entry.description,
            _here(entry),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _here(entry: reference.Entry) -> str:
    it = entry.standing
    if it.row != entry.path and it.kind in ("refused", "without effect"):
        return f"as `{it.row}`"
    return reference.sentence(it)


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
