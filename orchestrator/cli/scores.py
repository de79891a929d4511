"""The score table of a placement: every node with what speaks for it, or what rules it out."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

HEAD = (
    "",
    "NODE",
    "FREE CPUS",
    "FREE MEMORY",
    "RESERVED WITH IT",
    "AGAINST IT",
    "STRANDED",
    "LEFT",
    "SCORE",
    "RULED OUT",
)
LEGEND = (
    "The least AGAINST IT (spread and affinities) is chosen, among equals the least SCORE: what would be STRANDED,\n"
    "as a share of a largest node, and a little for what is LEFT free.\n"
)


def shown(placements: Sequence[Mapping[str, Any]], slot: int | None) -> Mapping[str, Any] | None:
    """The placement of a slot; None named: of what waits for a place, else the latest."""
    if slot is not None:
        from orchestrator.errors import Missing

        found = next((one for one in placements if one["subject"].rpartition("-")[2] == str(slot)), None)
        if found is None:
            raise Missing(f"cannot show the placement of slot {slot}: there is no such replica, or no record of it")
        return found
    return max(placements, key=lambda one: one.get("at", float("inf")), default=None)


def scores(placement: Mapping[str, Any] | None) -> str:
    """ "" where nothing was chosen. Nodes that were ruled out say by what instead of figures."""
    if placement is None:
        return ""
    from orchestrator.cli.printing import table
    from orchestrator.units import human_bytes, human_cpus

    cells = []
    for row in placement["rows"]:
        free = (human_cpus(row["free_cpus"]), human_bytes(row["free_memory"]))
        if row["fault"] is not None:
            cells.append(("", row["node"], *free, *["-"] * 5, row["fault"]))
            continue
        figures = (row["stranded"], row["left"], row["score"])
        weighed = (f"{row['reserved']:.0%}", f"{row['preference']:g}", *(f"{one:+.4f}" for one in figures))
        cells.append(("*" if row["chosen"] else "", row["node"], *free, *weighed, ""))
    more = placement["nodes"] - len(cells)
    rest = f"… and {more} nodes more\n" if more else ""
    title = f"\nthe nodes for {placement['subject']}, {placement['fits']} of {placement['nodes']} could take it:\n"
    return title + table(HEAD, cells) + rest + (LEGEND if placement["fits"] > 1 else "")
