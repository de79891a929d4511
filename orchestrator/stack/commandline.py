"""A command written as one text → its words, exactly as docker compose splits it (go-shellwords; nothing is expanded).

No shell reads it: what stands behind a `;`, `&`, `|`, `<` or `>` outside quotes is lost, and a warning says so.
"""

from __future__ import annotations

_ENDS = frozenset(";&|<>")
_SPACE = frozenset(" \t\r\n")


def split(text: str) -> tuple[list[str], str]:
    """The words, and the rest of the text that is not read ("": all of it is). ValueError where a quote stays open."""
    words: list[str] = []
    word, begun = "", False  # `begun`: an empty word counts where quotes made it
    inside = ""  # the sign that ends what we are in: a quote, "`", or ")" of $(…)
    escaped = False
    for at, letter in enumerate(text):
        if escaped:
            word, begun, escaped = word + letter, True, False
        elif letter == "\\" and inside != "'":
            escaped = True
        elif letter in _SPACE and not inside:
            if begun:
                words.append(word)
            word, begun = "", False
        elif letter in "'\"" and inside in ("", letter):
            begun = begun or bool(inside)
            inside = "" if inside else letter
        elif letter in _ENDS and not inside:
            number = letter == ">" and word[:1].isdigit()  # 2>file: the number belongs to what is not read
            return ([*words, word] if begun and not number else words), text[at:]
        else:
            inside = _around(text, letter, inside, word)
            word, begun = word + letter, True
    if escaped or inside:
        raise ValueError(f"cannot split {text!r} into words: {_open(inside)}; write it as a list")
    return ([*words, word] if begun else words), ""


def _around(text: str, letter: str, inside: str, word: str) -> str:
    """What we are in behind a letter that may begin or end it: `…` or $(…)."""
    if letter == "`" and inside in ("", "`"):
        return "" if inside else "`"
    if letter == ")" and inside in ("", ")"):
        return "" if inside else ")"
    if letter == "(" and inside in ("", ")"):
        if inside or not word.endswith("$"):
            raise ValueError(f"cannot split {text!r} into words: '(' must be quoted; write it as a list")
        return ")"
    return inside


def _open(inside: str) -> str:
    return f"no closing {inside}" if inside else "a backslash stands at its end"
