"""A plan as Markdown, for a pull request."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any


def markdown(plan: dict[str, Any]) -> str:
    """A head, a table of services, and below it the fields of each."""
    name, base, revision = plan["stack"], plan["base"], plan["revision"]
    head = f"### `{name}`: revision {base} → {revision}" if base != revision else f"### `{name}`: revision {revision}"
    if not plan["changes"]:
        return f"{head}\n\nNothing to do.\n"
    lines = [head, "", "| service | change | downtime | room | then |", "|---|---|---|---|---|"]
    for row in plan["services"]:
        then = "; ".join(f"`{each['service']}` {each['what']}" for each in row["triggers"])
        kind = f"**{row['class']}**" + (f" ({row['why']})" if row["why"] else "")
        cells = (f"`{row['service']}`", kind, _downtime(row["downtime"]), row["room"], then)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    for row in plan["services"]:
        if row["changes"]:
            lines += ["", f"**{row['service']}**", ""]
            lines += [f"- {_field(change)}" for change in row["changes"]]
    if plan["ground"]:
        lines += ["", *(f"- {line}" for line in plan["ground"])]
    if plan["text"]:
        lines += ["", "<details><summary>first steps</summary>", "", "```", plan["text"], "```", "</details>"]
    return "\n".join(lines) + "\n"


def _downtime(told: dict[str, Any] | None) -> str:
    if told is None:
        return ""
    if told["p50"] is None:
        return f"unknown: {told['why']}"
    return f"{told['p50']:.2f} s, p95 {told['p95']:.2f} s" if told["p95"] else "none"


def _field(change: dict[str, Any]) -> str:
    old, new = change["old"], change["new"]
    values = "changed" if old == new else f"{_code(old)} → {_code(new)}"
    return f"`{change['path']}`: {values}" + (f" ({change['place']})" if change["place"] else "")


def _code(value: str | None) -> str:
    """Text from a file, harmless: no backtick of its own ends the code."""
    return "—" if value is None else "`" + value.replace("`", "ʼ").replace("\n", " ") + "`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
