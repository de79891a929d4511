"""Instructions → stages, and which of them are needed for what is asked. Pure; mistakes are `Wrong`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.images.build.dockerfile import Instruction, Wrong
from orchestrator.images.build.instructions import global_arguments, misread
from orchestrator.images.build.state import Given
from orchestrator.images.build.words import expand, split

_NAME = re.compile(r"[a-z][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Stage:
    """`base`: the name after FROM, variables filled in: an earlier stage, an image or "scratch"."""

    index: int
    name: str
    base: str
    platform: str
    instructions: tuple[Instruction, ...]
    origin: Instruction

    @property
    def label(self) -> str:
        return self.name or f"stage-{self.index}"


def stages(instructions: Sequence[Instruction], given: Given) -> tuple[tuple[Stage, ...], Given]:
    """All stages in their order, and `given` with the global arguments. Raises Wrong."""
    given = replace(given, defaults=global_arguments(tuple(instructions), given))
    scope = {**given.platform, **given.defaults}
    made: list[Stage] = []
    for one in instructions:
        if one.keyword == "FROM":
            made.append(_stage(one, made, scope, given.escape))
        elif made:
            made[-1] = replace(made[-1], instructions=(*made[-1].instructions, one))
    return tuple(made), given


def target(known: Sequence[Stage], wanted: str | None) -> Stage:
    """The stage that is asked for, by name or number; the last where none is. Raises ValueError."""
    if not wanted:
        return known[-1]
    found = find(known, wanted, len(known))
    if found is None:
        names = ", ".join(stage.label for stage in known)
        raise ValueError(f"there is no stage {wanted!r}; there are {names}")
    return found


def find(known: Sequence[Stage], name: str, before: int) -> Stage | None:
    """An earlier stage by name (in any case; the last of that name) or number."""
    for stage in reversed(known[:before]):
        if stage.name and stage.name == name.lower():
            return stage
    return known[int(name)] if name.isdecimal() and int(name) < before else None


def foreseen(known: Sequence[Stage], stage: Stage) -> list[Stage]:
    """The stages that this one names, as far as that can be seen before it is run: they are begun with it."""
    names = [stage.base]
    for one in stage.instructions:
        names += [value for name, value in one.flags if name == "from"]
        for name, value in one.flags:
            if name == "mount":
                names += [part[5:] for part in value.split(",") if part.startswith("from=")]
    found = (find(known, name, stage.index) for name in names)
    return list({one.index: one for one in found if one is not None}.values())


def below(known: Sequence[Stage], stage: Stage) -> set[int]:
    """The numbers of a stage and of those it begins from."""
    found = {stage.index}
    while (earlier := find(known, stage.base, stage.index)) is not None:
        stage = earlier
        found.add(stage.index)
    return found


def _stage(one: Instruction, before: Sequence[Stage], scope: Mapping[str, str], escape: str) -> Stage:
    try:
        words = split(one.rest, escape)
        base = expand(words[0], scope, escape) if words else ""
        platform = expand(one.flag("platform") or "", scope, escape)
    except ValueError as error:
        raise misread(one, error) from None
    if not base:
        empty = f": {words[0]} is empty; an ARG before FROM may give it a value" if words else ""
        raise one.wrong(f"FROM names no image{empty}", words[0] if words else "")
    name = ""
    if len(words) > 1:
        if len(words) != 3 or words[1].upper() != "AS":
            raise one.wrong(f"FROM: expected IMAGE, or IMAGE AS NAME, but found {one.rest.strip()!r}", words[1])
        name = words[2].lower()
        if not _NAME.fullmatch(name):
            raise one.wrong(f"FROM: {words[2]!r} is no stage's name", words[2])
    return Stage(len(before), name, base, platform, (), one)


__all__ = ["Stage", "Wrong", "below", "find", "foreseen", "stages", "target"]
