"""`.env` and `env_file`: lines of NAME=value, as Compose reads them (Compose "env_file format").

Quotes: 'literal', "with escapes and variables", or bare up to " #". `export` is allowed; a bare NAME is the caller's.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping

from orchestrator.stack.interpolation import LONGEST as LONGEST
from orchestrator.stack.interpolation import Malformed, interpolate
from orchestrator.stack.places import Complaints, Place, Source

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([^\s=:#'\"]+)[ \t]*(?:[=:][ \t]*)?")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'", "$": "$$"}
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def parse(
    text: str, source: Source, outside: Mapping[str, str], complaints: Complaints, *, raw: bool = False
) -> dict[str, str]:
    """The variables of one file, in its order. `outside`: what `$NAME` sees beside the file's own earlier lines."""
    values: dict[str, str] = {}
    seen = ChainMap(dict(outside), values)  # the caller's environment wins over the file's earlier lines
    at, line, grown = 0, 1, 0
    while at < len(text):
        try:
            end, name = _line(text, at, seen, raw)
        except Malformed as error:
            complaints.add(Place(source, line, 1), str(error))
            end, name = _end_of_line(text, at), ""
        grown += len(values.get(name, ""))
        if grown > LONGEST:
            complaints.add(Place(source, line, 1), f"the values of this file grow beyond {LONGEST} characters")
            break
        line += text.count("\n", at, end + 1)
        at = end + 1
    return values


def _line(text: str, at: int, seen: ChainMap[str, str], raw: bool) -> tuple[int, str]:
    """Take one assignment (several lines where quotes span them) into `values`; where it ended, and its name."""
    outside, values = seen.maps
    end = _end_of_line(text, at)
    line = text[at:end].strip()
    if not line or line.startswith("#"):
        return end, ""
    if raw:
        name, equals, value = line.partition("=")
        if not equals:
            raise Malformed(f"expected NAME=value, but found {line[:40]!r}")
        values[name.strip()] = value
        return end, name.strip()
    found = _LINE.match(text, at, end)
    if not found:
        raise Malformed(f"expected NAME=value, but found {line[:40]!r}")
    name, start = found[1], found.end()
    if not found[0].rstrip(" \t").endswith(("=", ":")):
        if start < end and not text[start:end].lstrip().startswith("#"):
            raise Malformed(f"expected '=' after {name!r}, but found {text[start:end].strip()[:40]!r}")
        if name in outside:
            values[name] = outside[name]
        return end, name
    if text.startswith("'", start) and (single := _SINGLE.match(text, start)):
        values[name], end = single[1], single.end()
    elif text.startswith('"', start) and (double := _DOUBLE.match(text, start)):
        values[name], end = interpolate(_unescape(double[1]), seen, lambda _: None), double.end()
    elif text[start : start + 1] in ("'", '"'):
        raise Malformed(f"the quote that opens the value of {name} is never closed")
    else:
        bare = _COMMENT.sub("", text[start:end]).strip()
        values[name] = interpolate(bare, seen, lambda _: None)
        return end, name
    rest = text[end : _end_of_line(text, end)].strip()
    if rest and not rest.startswith("#"):
        raise Malformed(f"nothing may follow the closing quote of {name}, but found {rest[:40]!r}")
    return _end_of_line(text, end), name


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], "\\" + m[1]), text, flags=re.DOTALL)


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
