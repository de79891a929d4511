"""$VARIABLES in the words of an instruction, and a line split into words. Pure.

https://docs.docker.com/reference/dockerfile/ ("Environment replacement"): ${x}, ${x:-word}, ${x:+word}, ${x-word},
${x+word}, ${x:?why}, ${x#pattern}, ${x##pattern}, ${x%pattern}, ${x%%pattern}, ${x/pattern/word}, ${x//pattern/word}.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#]")
_DEEPEST = 32


def expand(text: str, known: Mapping[str, str], escape: str = "\\", quotes: bool = True) -> str:
    """The text with variables filled in. `quotes`: quotes are taken away, and inside '…' nothing is filled in.

    Raises ValueError with the reason.
    """
    return _Reader(text, known, escape, quotes).whole()


def split(text: str, escape: str = "\\") -> list[str]:
    """Words at blanks outside quotes; quotes and escapes stay in them for `expand`. Raises ValueError."""
    words: list[str] = []
    word, quote, at = "", "", 0
    while at < len(text):
        letter = text[at]
        if letter == escape and quote != "'" and at + 1 < len(text):
            word += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in " \t":
            if word:
                words.append(word)
            word = ""
            at += 1
            continue
        word += letter
        at += 1
    if quote:
        raise ValueError(f"a quote {quote} is not closed")
    return [*words, word] if word else words


class _Reader:
    def __init__(self, text: str, known: Mapping[str, str], escape: str, quotes: bool, depth: int = 0) -> None:
        self._text, self._known, self._escape, self._quotes, self._depth = text, known, escape, quotes, depth
        self._at = 0
        if depth > _DEEPEST:
            raise ValueError("variables lie in one another too deeply")

    def whole(self) -> str:
        made, quote = [], ""
        while self._at < len(self._text):
            letter = self._text[self._at]
            if self._quotes and letter == quote:
                quote = ""
                self._at += 1
            elif self._quotes and not quote and letter in "'\"":
                quote = letter
                self._at += 1
            elif letter == self._escape and quote != "'" and self._at + 1 < len(self._text):
                made.append(self._escaped(quote))
            elif letter == "$" and quote != "'":
                made.append(self._variable())
            else:
                made.append(letter)
                self._at += 1
        return "".join(made)

    def _escaped(self, quote: str) -> str:
        after = self._text[self._at + 1]
        self._at += 2
        if not self._quotes:
            return after if after == "$" else self._escape + after
        return after if not quote or after in f'$"{self._escape}' else self._escape + after

    def _variable(self) -> str:
        self._at += 1
        if self._text.startswith("{", self._at):
            return self._braced()
        found = _NAME.match(self._text, self._at)
        if not found:
            return "$"
        self._at = found.end()
        return self._known.get(found[0], "")

    def _braced(self) -> str:
        start = self._at + 1
        found = _NAME.match(self._text, start)
        if not found:
            raise ValueError(f"${{ must be followed by a name: {self._text[self._at - 1 :][:40]!r}")
        name, end = found[0], self._end(found.end())
        rest = self._text[found.end() : end]
        self._at = end + 1
        value = self._known.get(name)
        return self._modified(name, value, rest)

    def _end(self, at: int) -> int:
        depth = 1
        while at < len(self._text):
            letter = self._text[at]
            if letter == self._escape:
                at += 1
            elif letter == "{" and self._text[at - 1] == "$":
                depth += 1
            elif letter == "}":
                depth -= 1
                if not depth:
                    return at
            at += 1
        raise ValueError("a ${ is not closed")

    def _modified(self, name: str, value: str | None, rest: str) -> str:
        if not rest:
            return value or ""
        sign = rest[:2] if rest[:2] in (":-", ":+", ":?", "##", "%%", "//") else rest[:1]
        word = rest[len(sign) :]
        filled = bool(value) if sign.startswith(":") else value is not None
        match sign:
            case ":-" | "-":
                return value or "" if filled else self._word(word)
            case ":+" | "+":
                return self._word(word) if filled else ""
            case ":?" | "?":
                if not filled:
                    raise ValueError(f"{name}: {self._word(word) or 'it is not set'}")
                return value or ""
            case "#" | "##" | "%" | "%%":
                return _trimmed(value or "", self._word(word), sign)
            case "/" | "//":
                pattern, _, instead = word.partition("/")
                regular = fnmatch.translate(self._word(pattern)).removesuffix(r"\Z").removesuffix(r"\z")
                return re.sub(regular, lambda _: self._word(instead), value or "", count=0 if sign == "//" else 1)
        raise ValueError(f"unknown modifier in ${{{name}{rest}}}")

    def _word(self, text: str) -> str:
        return _Reader(text, self._known, self._escape, self._quotes, self._depth + 1).whole()


def _trimmed(value: str, pattern: str, sign: str) -> str:
    """The shortest (#, %) or longest (##, %%) beginning or end that fits, taken away."""
    lengths = range(len(value) + 1)
    for length in lengths if len(sign) == 1 else reversed(lengths):
        piece = value[:length] if sign[0] == "#" else value[len(value) - length :]
        if fnmatch.fnmatchcase(piece, pattern):
            return value[length:] if sign[0] == "#" else value[: len(value) - length]
    return value
