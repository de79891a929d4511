"""A figure: what is measured, what is asked of it, whether that is reached. Every part of the bench prints its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

# Unit → (factor from seconds, bytes or shares, digits after the point).
UNITS = {"s": (1, 2), "ms": (1e3, 1), "kB": (1e-3, 1), "MB": (1e-6, 1), "MB/s": (1e-6, 0), "%": (100, 2)}
WIDTH, COLUMN = 56, 18


@dataclass(frozen=True)
class Asked:
    """`least`: as much or more is wanted, else as much or less; `value` None: nothing is, it is for comparison."""

    value: float | None
    unit: str
    least: bool = False

    def text(self, value: float | None) -> str:
        if value is None:
            return "-"
        factor, digits = UNITS.get(self.unit, (1, 0))
        return f"{value * factor:,.{digits}f} {self.unit}".rstrip()

    def reached(self, value: float) -> bool:
        return self.value is None or (value >= self.value if self.least else value <= self.value)


def at_most(value: float, unit: str) -> Asked:
    return Asked(value, unit)


def at_least(value: float, unit: str) -> Asked:
    return Asked(value, unit, least=True)


def shown(unit: str) -> Asked:
    return Asked(None, unit)


@dataclass
class Table:
    """Lines are printed as soon as they are known; what was missed is remembered. `beside`: further columns."""

    beside: Sequence[str] = ()
    count: int = 0
    missed: list[str] = field(default_factory=list)

    def head(self, title: str, *beside: str) -> None:
        self.beside = beside
        cells = "".join(f"{one:>{COLUMN}}" for one in ("asked", "pyorch", *beside))
        print(f"\n{title:{WIDTH}}{cells}", flush=True)

    def line(self, what: str, asked: Asked, measured: float, *beside: float | None, note: str = "") -> None:
        limit = "-" if asked.value is None else f"{'≥' if asked.least else '≤'} {asked.text(asked.value)}"
        cells = "".join(f"{cell:>{COLUMN}}" for cell in (limit, *map(asked.text, (measured, *beside))))
        print(f"{what:{WIDTH}}{cells}{self._mark(what, asked, measured)}{f'  {note}' if note else ''}", flush=True)

    def _mark(self, what: str, asked: Asked, measured: float) -> str:
        if asked.value is None:
            return ""
        self.count += 1
        if asked.reached(measured):
            return "  reached"
        self.missed.append(what)
        return "  MISSED"

    def end(self) -> None:
        print(f"\n{self.count - len(self.missed)} of {self.count} figures reached", end="")
        print("".join(f"\n  missed: {what}" for what in self.missed), flush=True)
