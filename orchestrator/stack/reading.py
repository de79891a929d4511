"""The one door through which this room reads files: what was read, or looked for, is remembered for those who watch.

A reader may be confined to a directory (a checkout that somebody else wrote must not lead to this machine's files), and
may reveal what is kept encrypted in the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable

Reveal = Callable[[str, bytes], bytes]


class Outside(OSError):
    """The file lies outside the only directory that may be read."""


class Reader:
    """`within`: only files in this directory, symbolic links followed (None: any). `reveal(path, data)`: the data in
    clear. `seen`: every path asked for, there or not, in the order of asking."""

    def __init__(self, within: str | None = None, reveal: Reveal | None = None) -> None:
        self._within = None if within is None else os.path.realpath(within)
        self._reveal = reveal
        self._seen: dict[str, None] = {}

    @property
    def seen(self) -> tuple[str, ...]:
        return tuple(self._seen)

    def is_file(self, path: str) -> bool:
        """Whether there is such a file. One outside is none."""
        self._seen[path] = None
        return os.path.isfile(path) and self._is_inside(path)

    def read(self, path: str, most: int) -> bytes:
        """The file's first `most` bytes. Raises OSError; Outside where it may not be read."""
        self._seen[path] = None
        if not self._is_inside(path):
            raise Outside(1, f"it lies outside {self._within}")
        with open(path, "rb") as file:
            data = file.read(most)
        return self._reveal(path, data) if self._reveal else data

    def _is_inside(self, path: str) -> bool:
        if self._within is None:
            return True
        return os.path.realpath(path).startswith(self._within + os.sep)
