"""$VARIABLES in the words of an instruction, and a line split into words. Pure.

https://docs.docker.com/reference/dockerfile/ ("Environment replacement"): ${x}, ${x:-word}, ${x:+word}, ${x-word},
${x+word}, ${x:?why}, ${x#pattern}, ${x##pattern}, ${x%pattern}, ${x%%pattern}, ${x/pattern/word}, ${x//pattern/word}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-]")
_DEEPEST = 32
BLANKS = " \t"


class WrongWord(ValueError):
    """`word`: the text at fault, as it stands in its instruction."""

    def __init__(self, why: str, word: str) -> None:
        super().__init__(why)
        self.word = word


def expand(text: str, known: Mapping[str, str], escape: str = "\\", quotes: bool = True) -> str:
    """The text with variables filled in. `quotes`: quotes are taken away, and inside '…' nothing is filled in.

    Raises WrongWord with the reason.
    """
    return _Reader(text, known, escape, quotes).whole()


def split(text: str, escape: str = "\\") -> list[str]:
    """Words at blanks outside quotes; quotes and escapes stay in them for `expand`. Raises WrongWord."""
    words: list[str] = []
    word, quote, at, opened = "", "", 0, 0
    while at < len(text):
        letter = text[at]
        if letter == escape and quote != "'" and at + 1 < len(text):
            word += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote, opened = letter, at
        elif letter in BLANKS:
            if word:
                words.append(word)
            word = ""
            at += 1
            continue
        word += letter
        at += 1
    if quote:
        raise WrongWord(f"a quote {quote} is not closed", text[opened:])
    return [*words, word] if word else words


class _Reader:
    """`raw`: escapes stay in the text, for a pattern to read them."""

    def __init__(
        self, text: str, known: Mapping[str, str], escape: str, quotes: bool, depth: int = 0, raw: bool = False
    ) -> None:
        self._text, self._known, self._escape, self._quotes, self._depth = text, known, escape, quotes, depth
        self._raw, self._at = raw, 0
        if depth > _DEEPEST:
            raise WrongWord("variables lie in one another too deeply", text)

    def whole(self) -> str:
        made, quote, opened = [], "", 0
        while self._at < len(self._text):
            letter = self._text[self._at]
            if self._quotes and letter == quote:
                quote = ""
                self._at += 1
            elif self._quotes and not quote and letter in "'\"":
                quote, opened = letter, self._at
                self._at += 1
            elif letter == self._escape and quote != "'":
                made.append(self._escaped(quote))
            elif letter == "$" and quote != "'":
                made.append(self._variable())
            else:
                made.append(letter)
                self._at += 1
        if quote:
            raise WrongWord(f"a quote {quote} is not closed", self._text[opened:])
        return "".join(made)

    def _escaped(self, quote: str) -> str:
        after = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if not after:
            return "" if self._quotes else self._escape  # the last letter of a word escapes nothing
        if not self._quotes:
            return after if after == "$" else self._escape + after
        if self._raw:
            return self._escape + after
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
            whole = self._text[self._at - 1 :]
            raise WrongWord(f"${{ must be followed by a name: {whole[:40]!r}", whole)
        name, end = found[0], self._end(found.end())
        rest = self._text[found.end() : end]
        whole = self._text[self._at - 1 : end + 1]
        self._at = end + 1
        return self._modified(name, self._known.get(name), rest, whole)

    def _end(self, at: int) -> int:
        depth, opened = 1, self._at - 1
        while at < len(self._text):
            letter = self._text[at]
            if letter == self._escape:
                at += 1
            elif self._text.startswith("${", at):
                depth += 1
                at += 1
            elif letter == "}":
                depth -= 1
                if not depth:
                    return at
            at += 1
        raise WrongWord("a ${ is not closed", self._text[opened:])

    def _modified(self, name: str, value: str | None, rest: str, whole: str) -> str:
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
                    raise WrongWord(f"{name}: {self._word(word) or 'it is not set'}", whole)
                return value or ""
            case "#" | "##" | "%" | "%%":
                return _trimmed(value or "", self._pattern(word), sign)
            case "/" | "//":
                pattern, instead = self._halves(word)
                count = 0 if sign == "//" else 1
                return re.sub(self._pattern(pattern), lambda _: self._word(instead), value or "", count=count)
        raise WrongWord(f"unknown modifier in {whole}", whole)

    def _halves(self, text: str) -> tuple[str, str]:
        """What stands before and after the first '/' that is not escaped."""
        at = 0
        while at < len(text) and text[at] != "/":
            at += 2 if text[at] == self._escape else 1
        return text[:at], text[at + 1 :]

    def _word(self, text: str, raw: bool = False) -> str:
        return _Reader(text, self._known, self._escape, self._quotes, self._depth + 1, raw).whole()

    def _pattern(self, text: str) -> str:
        """A regular expression: * and ? have a meaning, every other letter, and what is escaped, stands for itself."""
        made, letters = "(?s:", iter(self._word(text, raw=True))
        for letter in letters:
            if letter == self._escape:
                letter = next(letters, letter)
                made += re.escape(letter)
            else:
                made += {"*": ".*", "?": "."}.get(letter, re.escape(letter))
        return made + ")"


def _trimmed(value: str, pattern: str, sign: str) -> str:
    """The shortest (#, %) or longest (##, %%) beginning or end that fits, taken away."""
    lengths = range(len(value) + 1)
    fits = re.compile(pattern)
    for length in lengths if len(sign) == 1 else reversed(lengths):
        piece = value[:length] if sign[0] == "#" else value[len(value) - length :]
        if fits.fullmatch(piece):
            return value[length:] if sign[0] == "#" else value[: len(value) - length]
    return value
