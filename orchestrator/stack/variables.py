"""The variables of a project: the caller's, over those of `.env` or of the files named instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.stack.loader import Loader
from orchestrator.stack.places import Place, Source, shown_name


def read(files: Iterable[str], outside: Mapping[str, str], loader: Loader) -> dict[str, str]:
    """The variables of the files, later ones winning. `outside`: what their values may name besides each other."""
    found: dict[str, str] = {}
    for path in files:
        from orchestrator.stack.dotenv import parse  # few projects have such a file, and its patterns take time

        raw = loader.contents(path)
        source = Source(path, shown_name(path, loader.home))
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            loader.complaints.add(Place(source, line, 1), "is not UTF-8 text")
            continue
        source = Source(path, source.shown, tuple(text.split("\n")))
        found |= parse(text, source, {**found, **outside}, loader.complaints)
    return found
