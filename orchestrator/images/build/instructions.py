"""What one instruction does: to the configuration and the arguments in scope, and to files. Pure.

What changes files comes back as a step for the builder: Run, Copy or Make. Every mistake is a `Wrong` at its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.images.build import configuring, stepping
from orchestrator.images.build.dockerfile import Instruction, Wrong, parse
from orchestrator.images.build.lines import Source
from orchestrator.images.build.state import Given, State, Step

_CONFIGURING = {
    "ENV": configuring.env,
    "LABEL": configuring.label,
    "MAINTAINER": configuring.maintainer,
    "ARG": configuring.arg,
    "USER": configuring.user,
    "ENTRYPOINT": configuring.entrypoint,
    "CMD": configuring.cmd,
    "EXPOSE": configuring.expose,
    "VOLUME": configuring.volume,
    "STOPSIGNAL": configuring.stopsignal,
    "HEALTHCHECK": configuring.healthcheck,
    "SHELL": configuring.shell,
    "ONBUILD": configuring.onbuild,
}
_STEPPING = {
    "WORKDIR": stepping.workdir,
    "RUN": stepping.run,
    "COPY": stepping.copy,
    "ADD": stepping.copy,
}


def apply(one: Instruction, state: State, given: Given) -> tuple[State, Step | None]:
    """The state after an instruction, and what it does to files. Raises Wrong."""
    try:
        if one.keyword in _CONFIGURING:
            return _CONFIGURING[one.keyword](one, state, given), None
        return _STEPPING[one.keyword](one, state, given)
    except ValueError as error:
        raise misread(one, error) from None


def global_arguments(instructions: tuple[Instruction, ...], given: Given) -> dict[str, str]:
    """The ARGs before the first FROM. Raises Wrong."""
    known: dict[str, str] = {}
    for one in instructions:
        if one.keyword != "ARG":
            break
        try:
            for name, default in configuring.declared(one, {**given.platform, **known}, given.escape):
                value = given.arguments.get(name, default)
                if value is not None:
                    known[name] = value
        except ValueError as error:
            raise misread(one, error) from None
    return known


def triggers(config: Mapping[str, Any], line: int) -> list[Instruction]:
    """The ONBUILD instructions that a base image has left for us, as if they stood after FROM."""
    found = []
    for text in config.get("OnBuild") or ():
        try:
            parsed = parse(f"FROM scratch\n{text}").instructions[1:]
        except Wrong as error:
            raise Wrong(line, 1, f"the base image's ONBUILD {text!r}: {error.why}") from None
        found += [replace(one, source=Source("", ((0, line, 1),))) for one in parsed]
    return found


def misread(one: Instruction, error: ValueError) -> Wrong:
    """A mistake in an instruction, at the word where it lies."""
    if isinstance(error, Wrong):
        return error
    return one.wrong(f"{one.keyword}: {error}", getattr(error, "word", ""))
