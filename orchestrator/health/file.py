"""A probe by a file: the container makes it when it is well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """`path`: absolute, inside the container."""

    path: str

    def __str__(self) -> str:
        return f"file {self.path}"


def verdict(probe: File, there: bool) -> tuple[bool, str]:
    return there, f"{probe.path} is there" if there else f"{probe.path} does not exist"
