"""Options as data, and the small parser that reads the ordinary command line.

`read` never complains: it returns None for whatever it does not know for certain, and click, built from the very same
data (`app.py`), reads the line again with all its courtesy. Both give the same `Given`; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any, Literal

    Kind = Literal["flag", "text", "number", "integer", "many"]


class Option:
    """One option. `kind`: flag, text, number (float), integer, or many (a text that may be given again and again)."""

    __slots__ = ("choices", "default", "help", "hidden", "kind", "metavar", "name", "names")

    def __init__(
        self,
        *names: str,
        help: str,
        kind: Kind = "flag",
        metavar: str | None = None,
        choices: tuple[str, ...] = (),
        default: str | int | None = None,
        hidden: bool = False,
    ) -> None:
        self.names = names
        self.name = max(names, key=len).lstrip("-").replace("-", "_")
        self.help, self.kind, self.choices, self.hidden = help, kind, choices, hidden
        self.metavar = metavar or ("" if kind == "flag" else "|".join(choices) or self.name.upper())
        self.default = default

    def initial(self) -> Any:
        """The value of the option that was not given."""
        return False if self.kind == "flag" else [] if self.kind == "many" else self.default

    def convert(self, text: str) -> Any:
        """The text as a value; ValueError where it is none."""
        if self.choices and text not in self.choices:
            raise ValueError(text)
        return float(text) if self.kind == "number" else int(text) if self.kind == "integer" else text


class Argument:
    """A positional word: exactly one, or `many` (at least one where `required`)."""

    __slots__ = ("choices", "complete", "many", "metavar", "name", "required")

    def __init__(
        self,
        name: str,
        *,
        many: bool = False,
        required: bool = True,
        metavar: str | None = None,
        choices: tuple[str, ...] = (),
        complete: bool = False,
    ) -> None:
        self.name, self.many, self.required = name, many, required
        self.metavar, self.choices, self.complete = metavar or name.upper(), choices, complete


class Given:
    """What the user gave: an attribute for each option and argument of the command, and `command`, its name."""

    def __init__(self, command: str, values: dict[str, Any]) -> None:
        self.command = command
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"command '{self.command}' has no option {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Given) and self.__dict__ == other.__dict__


def beside(options: Sequence[Option], general: Sequence[Option]) -> list[Option]:
    """The general options as they may stand after the command word: its own short names win (`logs -f`, `down -v`)."""
    taken = {name for option in options for name in option.names}
    free = ((option, [name for name in option.names if name not in taken]) for option in general)
    return [
        Option(
            *names,
            help=option.help,
            kind=option.kind,
            metavar=option.metavar,
            choices=option.choices,
            default=option.default,
            hidden=True,
        )
        for option, names in free
        if names and option.name == max(names, key=len).lstrip("-").replace("-", "_")
    ]


def merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """General options given before the command word, and what came after it: the latter wins, lists add up."""
    values = dict(before)
    for name, value in after.items():
        if isinstance(value, list):
            values[name] = [*before.get(name, ()), *value]
        elif name not in before or value not in (None, False):
            values[name] = value
    return values


def read(
    words: Sequence[str], options: Sequence[Option], arguments: Sequence[Argument], *, interspersed: bool = True
) -> dict[str, Any] | None:
    """The values of the ordinary command line; None where a word is not certain (click then explains it)."""
    split = split_words(words, options, interspersed=interspersed)
    if split is None:
        return None
    values, rest = split
    return values if _place(rest, arguments, values) else None


def split_words(
    words: Sequence[str], options: Sequence[Option], *, interspersed: bool
) -> tuple[dict[str, Any], list[str]] | None:
    """The values of the options, and the positional words. Not `interspersed`: the first of those ends the options."""
    known = {name: option for option in options for name in option.names}
    values = {option.name: option.initial() for option in options}
    rest: list[str] = []
    words_left = iter(words)
    for word in words_left:
        if word == "--":
            break
        if len(word) < 2 or word[0] != "-":
            rest.append(word)
            if interspersed:
                continue
            break
        for name, value in _parts(word, known):
            option = known.get(name)
            if option is None or (option.kind == "flag" and value is not None):
                return None
            if option.kind == "flag":
                values[option.name] = True
                continue
            value = next(words_left, None) if value is None else value
            try:
                converted = option.convert(value) if value is not None else None
            except ValueError:
                return None
            if converted is None:
                return None
            values[option.name] = [*values[option.name], converted] if option.kind == "many" else converted
    return values, [*rest, *words_left]


def _parts(word: str, known: dict[str, Option]) -> Iterator[tuple[str, str | None]]:
    """`--name=value`, `--name`, `-abc` (flags), `-n5`: the options in one word, each with the value stuck to it."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        yield name, value if equals else None
        return
    for at, letter in enumerate(word[1:], start=2):
        option = known.get("-" + letter)
        if option is not None and option.kind != "flag":
            yield "-" + letter, word[at:] or None
            return
        yield "-" + letter, None


def _place(rest: list[str], arguments: Sequence[Argument], values: dict[str, Any]) -> bool:
    """Puts the positional words where they belong; False where they are too few, too many or not of the choices."""
    for argument in arguments:
        if argument.many:
            values[argument.name], rest = rest, []
        else:
            values[argument.name] = rest.pop(0) if rest else None
        value = values[argument.name]
        if (argument.required and not value) or (value and argument.choices and value not in argument.choices):
            return False
    return not rest
