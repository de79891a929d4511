"""Where words stand, and the list of everything wrong with them: file:line:column, the line itself, a caret."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from orchestrator.errors import Mistake
from orchestrator.record import fresh, frozen, record
from orchestrator.stack.origin import Origin

Path: TypeAlias = tuple[str | int, ...]

_UNPRINTABLE = r"[^\t\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]"  # compiled where a mistake is shown
_WIDEST, _LONGEST = 160, 800  # letters of a line and of a sentence that are shown
MOST = 200  # complaints told about one stack


@frozen
class Source:
    """One file as it was read. `shown`: its name in messages. `via`: how one came to it, the nearest word first."""

    path: str
    shown: str
    lines: tuple[str, ...] = ()
    via: tuple[str, ...] = ()


@frozen
class Place:
    """Line and column counted from 1; line 0: the file as a whole."""

    source: Source
    line: int = 0
    column: int = 0


# The YAML nodes of key and value (any: a list element has no key and stands for both). Nodes are kept, not places:
# a place is only needed for the few values that are complained about.
Mark: TypeAlias = tuple[Source, Any, Any]
Marks: TypeAlias = Mapping[Path, Mark]


def dotted(path: Path) -> str:
    """("services", "web", "ports", 0) → "services.web.ports[0]"."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def origins(marks: Marks) -> dict[str, Origin]:
    """The place of each key, by its dotted path."""

    found: dict[str, Origin] = {}
    names: dict[Path, str] = {(): ""}
    for path, (source, key, _) in marks.items():
        if not path:
            continue
        step, parent = path[-1], names.get(path[:-1])
        if parent is None:
            name = dotted(path)
        elif isinstance(step, int):
            name = f"{parent}[{step}]"
        else:
            name = f"{parent}.{step}" if parent else step
        names[path] = name
        start = key.start_mark
        found[name] = Origin(source.path, start.line + 1, start.column + 1)
    return found


def nearest(word: str, known: Iterable[str], most: int = 100) -> str | None:
    """The known word that was probably meant, of the first `most`."""
    import difflib  # only a mistake needs it

    some = list(itertools.islice(known, most))  # comparing is slow: a file of thousands of names must not become a wait
    near = difflib.get_close_matches(word[:100], some, n=1, cutoff=0.6)
    return near[0] if near else None


def did_you_mean(word: str, known: Iterable[str], most: int = 100) -> str:
    """ "; did you mean 'image'?" or nothing."""
    near = nearest(word, known, most)
    return f"; did you mean '{near}'?" if near else ""


def quoted(value: object, widest: int = 60) -> str:
    """A value as it is shown in a sentence: texts in quotes, long ones cut."""
    text = {True: "true", False: "false", None: "null"}[value] if isinstance(value, bool | None) else repr(value)
    return text if len(text) <= widest else text[: widest - 1] + "…"


@record
class Complaints:
    """Everything found wrong so far. `broken`: paths whose value cannot be used; nothing is said about them twice.
    `taken`: those of them whose value has been taken out of the data.

    `unset`: variables without a value that were told of. `strict`: they are mistakes.
    """

    strict: bool = False
    found: list[tuple[Place, str]] = fresh(default_factory=list)
    warnings: dict[str, None] = fresh(default_factory=dict)
    broken: set[Path] = fresh(default_factory=set)
    unset: set[str] = fresh(default_factory=set)
    shared: dict[tuple[str, int, int, str], list[str]] = fresh(default_factory=dict)  # keys of one place
    taken: set[Path] = fresh(default_factory=set)

    def add(self, place: Place, text: str) -> None:
        """Raises Mistake with all that was found so far when it is more than anybody reads."""
        self.found.append((place, text if len(text) <= _LONGEST else text[:_LONGEST] + " …"))
        if len(self.found) >= MOST:
            raise Mistake(*self.printed(), f"there are more than {MOST} mistakes; the rest is not shown")

    def about(self, marks: Marks, path: Path, text: str, *, key: bool = False) -> None:
        """Complain about the value at `path`, or its key. What stands nowhere has the place of its nearest parent.

        What many services take over from one line is told once.
        """
        place = place_of(marks, path, key=key)
        said = place.source.path, place.line, place.column, text
        keys = self.shared.setdefault(said, [])
        if dotted(path) in keys[:1]:
            return
        keys.append(dotted(path))
        if len(keys) == 1:
            self.add(place, f"{dotted(path)}: {text}" if path else text)

    def is_spoilt(self, path: Path) -> bool:
        """Whether something at the path or below it was complained about: what follows from that is not said too."""
        return any(broken[: len(path)] == path for broken in self.broken)

    def warn(self, marks: Marks, path: Path, text: str) -> None:
        place = place_of(marks, path, key=True)
        self.warnings[f"{place.source.shown}:{place.line}: {dotted(path)}: {text}"] = None

    def raise_if_any(self) -> None:
        """Raise one Mistake with all of them, in the order of the files' lines."""
        if self.found:
            raise Mistake(*self.printed())

    def printed(self) -> Iterator[str]:
        order: dict[str, int] = {}
        for place, _ in self.found:
            order.setdefault(place.source.path, len(order))
        ranked = sorted(
            self.found, key=lambda f: (order[f[0].source.path], f[0].line, f[0].column, f[1])
        )  # all mistakes of one file stay together
        yield from dict.fromkeys(printed(place, self._of_all(place, text)) for place, text in ranked)

    def _of_all(self, place: Place, text: str) -> str:
        """The sentence, with the other keys that it goes for."""
        own = text.partition(": ")[2]
        first, *others = sorted(self.shared.get((place.source.path, place.line, place.column, own), ())) or [""]
        if not others:
            return text
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"{first}: {own} (and {others[0]}{more})"


def place_of(marks: Marks, path: Path, *, key: bool = False) -> Place:
    exact = True
    while path not in marks and path:
        path, exact = path[:-1], False
    source, key_node, value_node = marks[path]
    start = (key_node if key or not exact else value_node).start_mark
    return Place(source, start.line + 1, start.column + 1)


def shown_name(path: str, directory: str) -> str:
    """The file's name as messages say it: relative where it lies below `directory`."""
    relative = os.path.relpath(path, directory)
    return path if relative.startswith("..") else relative


def printed(place: Place, text: str) -> str:
    via = "".join(f"\n  {step}" for step in place.source.via)
    if not place.line:
        return f"{place.source.shown}: {text}{via}"
    head = f"{place.source.shown}:{place.line}:{place.column}: {text}"
    if place.line > len(place.source.lines):
        return head + via
    line = re.sub(_UNPRINTABLE, "�", place.source.lines[place.line - 1].rstrip("\r\n"))
    start = max(place.column - 1 - _WIDEST // 2, 0) if len(line) > _WIDEST else 0
    window, column = line[start : start + _WIDEST], place.column - 1 - start
    indent = "".join("\t" if letter == "\t" else " " for letter in window[:column])
    return f"{head}\n  {window}\n  {indent}^{via}"
