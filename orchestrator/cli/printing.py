"""Tables, colours, and text from strangers made harmless for a terminal."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.cli.option import Given

RESET = b"\x1b[0m"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, three spaces between, nothing trailing; a head even without any row."""
    lines = [head, *(tuple(" ".join(map(printable, cell.split("\n"))) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "".join("   ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def printable(text: str) -> str:
    """The text with every control character shown as its code, so that a log or a reason cannot steer the terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def live(given: Given, fd: int) -> bool:
    """Whether lines may be overwritten on `fd`: a terminal that is not dumb, unless --ansi says otherwise."""
    if given.ansi in ("never", "always"):
        return bool(given.ansi == "always")
    return os.isatty(fd) and os.environ.get("TERM") != "dumb"


def coloured(given: Given, fd: int) -> bool:
    """Whether colours may go to `fd`: https://no-color.org, --no-color, --ansi."""
    return not given.no_color and not os.environ.get("NO_COLOR") and live(given, fd)


def say(sentence: str) -> None:
    """One line on stderr, with our name before it."""
    print(f"pyorch: {sentence}", file=sys.stderr, flush=True)


def write_all(fd: int, data: bytes) -> None:
    """write(2) until everything is out; BrokenPipeError where the reader is gone."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # whoever shares this terminal or pipe with us made it non-blocking
            import select

            select.select((), (fd,), ())
