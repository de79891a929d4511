"""The door. It decides with as little as possible: the small parser for the ordinary line, click for all others."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from orchestrator.cli.option import Given


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line (without the program's name); returns the exit code: see `failure.py` for the others."""
    words = list(sys.argv[1:] if argv is None else argv)
    given: Given | None = None
    try:
        if "_PYORCH_COMPLETE" not in os.environ:
            given = ordinary(words)
        if given is None:
            from orchestrator.cli import app

            answer = app.read(words)
            if isinstance(answer, int):
                return answer
            given = answer
        return run(given)
    except BaseException as error:
        from orchestrator.cli.failure import report

        return report(error, verbose=bool(given and given.verbose))


def ordinary(words: Sequence[str]) -> Given | None:
    """The command line read without click; None where it holds anything but a known command and its options."""
    from orchestrator.cli.option import Given, beside, merged, read, split_words
    from orchestrator.cli.table import COMMANDS, GENERAL

    before = split_words(words, GENERAL, interspersed=False)
    if before is None or not before[1] or before[1][0] not in COMMANDS:
        return None
    general, (name, *rest) = before
    command = load(name)
    if hasattr(command, "COMMANDS"):
        if not rest or rest[0] not in command.COMMANDS:
            return None
        name, command, rest = f"{name} {rest[0]}", command.COMMANDS[rest[0]], rest[1:]
    options = [*command.OPTIONS, *beside(command.OPTIONS, GENERAL)]
    interspersed = getattr(command, "INTERSPERSED", True)
    after = read(rest, options, command.ARGUMENTS, interspersed=interspersed)
    return Given(name, merged(general, after)) if after is not None else None


def load(name: str) -> ModuleType:
    """The file of a command. `__import__` with the full name, because importlib itself costs a millisecond."""
    full = f"orchestrator.cli.{name}"
    __import__(full)
    return sys.modules[full]


def run(given: Given) -> int:
    """Does what was asked; returns the exit code."""
    name, _, action = given.command.partition(" ")
    command = load(name)
    code: int = (command.COMMANDS[action] if action else command).run(given)
    sys.stdout.flush()
    return code
