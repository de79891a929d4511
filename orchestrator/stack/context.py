"""What every maker of typed values needs at hand: the places of the words, the list of complaints, the surroundings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator import units
from orchestrator.stack import commandline
from orchestrator.stack.model import Healing
from orchestrator.stack.places import Complaints, Marks, Path
from orchestrator.stack.reading import Reader

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Context:
    """`directory`: where relative paths start. `environment`: the caller's with `.env`. `publish`: usual host_ip."""

    stack: str
    directory: str
    environment: Mapping[str, str]
    marks: Marks
    complaints: Complaints
    reader: Reader
    publish: str = "127.0.0.1"
    drift: Healing = Healing()  # what the stack as a whole says of it

    def complain(self, path: Path, text: str, *, key: bool = False) -> None:
        self.complaints.about(self.marks, path, text, key=key)

    def host_path(self, word: str) -> str:
        """An absolute path of the host: `~` is the caller's home, relative ones start at `directory`."""
        if word == "~" or word.startswith("~/"):
            home = self.environment.get("HOME")
            if not home:
                raise ValueError(f"cannot tell what {word!r} means: HOME is not set")
            word = home + word[1:]
        return os.path.normpath(os.path.join(self.directory, word))

    def read(
        self, data: Mapping[str, Any], path: Path, key: str, reader: Callable[[Any], Value], default: Value
    ) -> Value:
        """`reader(data[key])`, or `default` where it is not written; its ValueError becomes a complaint."""
        value = data.get(key)
        if value is None:
            return default
        try:
            return reader(value)
        except ValueError as error:
            self.complain((*path, key), str(error))
            return default


def words(value: Any) -> tuple[str, ...]:
    """A command: a list as it is, a text split into words (nothing is expanded)."""
    if isinstance(value, list):
        return tuple(word for word in value if word is not None)
    return tuple(commandline.split(value)[0])


def text(value: object) -> str:
    """A scalar as Compose hands it to a container: true, 1.5, 1000."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return "" if value is None else str(value)


def size_of(word: Any) -> int:
    """Bytes; the effective stack writes a size of nothing as an empty text. ValueError says what was expected."""
    return units.size(word) if word != "" else 0
