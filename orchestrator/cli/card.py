"""What is known of a failure, on one card."""

from __future__ import annotations

import sys

from orchestrator.cli.printing import printable

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def show(cards: list[dict[str, Any]]) -> None:
    """On stderr, like all that is told of the work."""
    for card in cards:
        print("\n".join(map(printable, lines(card))), file=sys.stderr, flush=True)


def lines(card: dict[str, Any]) -> Iterator[str]:
    yield f"  {card['service']} ({card['subject']}) is {card['state']}"
    yield f"    why      {card['why']}"
    if card["waiting"]:
        yield f"    waiting  {', '.join(card['waiting'])}"
    if card["exit"]:
        yield f"    end      {card['exit']}"
    for number, line in enumerate(card["probe"].splitlines()[-3:]):
        yield f"    {'probe   ' if not number else '        '} {line}"
    for number, line in enumerate(card["log"]):
        yield f"    {'log     ' if not number else '        '} {line}"
    for change in card["changed"]:
        yield f"    changed  {change}"
    yield f"    next     {card['next']}"
    yield f"    look     {card['look']}"
