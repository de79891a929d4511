"""Where files come from: each is read once for each way that leads to it, and not more of them than anybody writes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TypeAlias

from yaml import MappingNode

from orchestrator.errors import Mistake
from orchestrator.record import fresh, frozen, record
from orchestrator.stack import parse, text
from orchestrator.stack.places import Complaints, Mark, Source, shown_name
from orchestrator.stack.reading import Reader
from orchestrator.stack.tree import Map, size

MOST_COPIED = 400_000  # values that `extends` may add
MOST_FILES = 1_000  # an include may include others twice each: what doubles must end


@frozen
class Options:
    """The stages of `config` that can be left out, by their flags' names."""

    interpolate: bool = True
    normalize: bool = True
    consistency: bool = True
    resolve_paths: bool = True
    resolve_env: bool = True


@frozen
class Scope:
    """What the words of a file are read against.

    `directory`: absolute, where its relative paths start; `start`: the same as seen from the project that takes it in
    (what is put before its paths). `way`: the files that led here, this one not included; `via`: the same in words.
    """

    directory: str
    start: str
    variables: Mapping[str, str]
    way: tuple[str, ...] = ()
    via: tuple[str, ...] = ()


Composed: TypeAlias = "tuple[Source, list[MappingNode]]"


@record
class Loader:
    """Opens files for one load, all through one door. `home`: the directory that messages name files from."""

    complaints: Complaints
    options: Options
    home: str
    door: Reader
    opened: int = 0
    copied: int = 0
    composed: dict[str, Composed] = fresh(default_factory=dict)

    def documents(self, path: str, via: tuple[str, ...], asked: Mark | None = None) -> list[parse.Document]:
        """The documents of one file. Raises Mistake where there is no such file, or far too many of them."""
        self.opened += 1
        if self.opened > MOST_FILES:
            raise Mistake(*self.complaints.printed(), f"refused: more than {MOST_FILES} files belong to this stack")
        if not via and path in self.composed:
            source, roots = self.composed.pop(path)
        else:
            source = Source(path, shown_name(path, self.home), via=via)
            source, roots = text.compose(self.contents(path, asked), source, self.complaints)
            if not roots:
                self.complaints.raise_if_any()
        return [parse.read(source, root, self.complaints) for root in roots]

    def grow(self, branch: Map) -> None:
        """Count the values that `extends` copies: what grows with each link of a long chain must end."""
        self.copied += size(branch)
        if self.copied > MOST_COPIED:
            printed = self.complaints.printed()
            raise Mistake(*printed, f"refused: `extends` makes more than {MOST_COPIED} values of what is written")

    def look(self, path: str) -> Composed:
        """The nodes of a file that will be read for good later; its mistakes are complained about now."""
        source = Source(path, shown_name(path, self.home))
        self.composed[path] = text.compose(self.contents(path), source, self.complaints)
        return self.composed[path]

    def contents(self, path: str, asked: Mark | None = None) -> bytes:
        """The file ("-": what is piped in), or a little more than the largest that is allowed of it."""
        try:
            if path == "-":
                return sys.stdin.buffer.read(text.LARGEST + 1)
            return self.door.read(path, text.LARGEST + 1)
        except OSError as error:
            by = f"{asked[0].shown}:{asked[1].start_mark.line + 1}: " if asked else ""
            raise Mistake(f"{by}cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def below(scope: Scope, path: str, verb: str, mark: Mark | None) -> tuple[str, ...]:
    """The way to a file that `scope` names: one sentence more."""
    if mark is None:
        return scope.via
    return (f"{verb} {mark[0].shown}:{mark[1].start_mark.line + 1}", *scope.via)
