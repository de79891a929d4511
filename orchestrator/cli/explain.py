"""pyorch explain: the entry of a key of the stack language. In this process: no agent, no root rights are needed."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.stack.reference import Entry

HELP = """Explain a key of the stack file: its forms, its default, what it does, whether pyorch obeys it, an example.

A key is named by its path, with or without the names in it, or by its end alone. Without a key: the top level.
"""
EXAMPLES = """
  pyorch explain services.healthcheck.start_interval
  pyorch explain services.web.ports[0].host_ip     names and numbers do not matter
  pyorch explain deploy.resources                  the end of the path is enough
  pyorch explain x-pyorch --format json
"""
OPTIONS = (Option("--format", kind="text", choices=("text", "json"), default="text", help="How it is printed."),)
ARGUMENTS = (Argument("key", many=True, required=False, metavar="KEY"),)


def run(given: Given) -> int:
    from orchestrator.stack.reference import below, entries

    known = entries()
    if not given.key:
        print(_list([entry for entry in known.values() if "." not in entry.path and "[" not in entry.path]), end="")
        return 0
    found = [entry for key in given.key for entry in _found(key, known)]
    if given.format == "json":
        import json

        shown = [_object(entry, below(entry.path, known)) for entry in found]
        print(json.dumps(shown[0] if len(shown) == 1 else shown, indent=2, ensure_ascii=False))
    elif len(found) > len(given.key) + 4:
        print(_list(found), end="")
    else:
        print("\n".join(_text(entry, below(entry.path, known)) for entry in found), end="")
    return 0


def _found(key: str, known: dict[str, Entry]) -> list[Entry]:
    from orchestrator.errors import Mistake
    from orchestrator.stack.places import did_you_mean
    from orchestrator.stack.reference import below, find, steps

    found = find(key, known)
    end = steps(key)[-1:]
    if found:
        if found[0].path.endswith("*"):  # its last word was taken for a name, which may have been meant as a key
            _doubt("".join(end), [entry.plain.rpartition(".")[2] for entry in below(found[0].path, known)])
        return found
    paths = {entry.plain: None for entry in known.values()}
    ends = {entry.plain.rpartition(".")[2]: None for entry in known.values()}
    hint = did_you_mean(key, paths, most=len(paths)) or did_you_mean("".join(end), ends, most=len(ends))
    raise Mistake(f"no such key: {key}{hint}")


def _doubt(word: str, keys: list[str]) -> None:
    from orchestrator.cli.printing import say
    from orchestrator.stack.places import did_you_mean

    if hint := did_you_mean(word, keys):
        say(f"'{word}' is taken for a name{hint}")


def _text(entry: Entry, children: list[Entry]) -> str:
    import textwrap

    from orchestrator.stack.reference import sentence

    rows = [
        ("Form", " or ".join(entry.forms)),
        ("Default", _yaml(entry.default) if entry.default is not None else ""),
        ("Required", "yes" if entry.required else ""),
        ("Here", sentence(entry.standing)),
    ]
    text = f"{entry.plain}\n\n{textwrap.fill(entry.description, 88, initial_indent='  ', subsequent_indent='  ')}\n\n"
    for name, value in rows:
        if value:
            text += textwrap.fill(value, 88, initial_indent=f"  {name:<10}", subsequent_indent=" " * 12) + "\n"
    for example in entry.examples:
        text += "\n" + textwrap.indent(_example(entry.plain.rpartition(".")[2], example), "    ")
    if children:
        text += "\n  Keys below:\n\n" + textwrap.indent(_list(children, short=True), "    ")
    return text


def _list(entries: list[Entry], *, short: bool = False) -> str:
    """A key a line, with the first sentence of its description."""
    names = [entry.plain.rpartition(".")[2] if short else entry.plain for entry in entries]
    width = max(map(len, names), default=0)
    return "".join(f"{name:<{width}}   {_first(entry)}\n" for name, entry in zip(names, entries, strict=True))


def _first(entry: Entry) -> str:
    head, stop, _ = entry.description.partition(". ")
    line = head + ("." if stop else "")
    line = line if len(line) <= 90 else line[:89] + "…"
    return line + (" (not obeyed yet)" if entry.standing.kind == "refused" else "")


def _example(key: str, value: Any) -> str:
    return _yaml({key: value}) if isinstance(value, dict | list) else f"{key}: {_yaml(value)}\n"


def _yaml(value: Any) -> str:
    import yaml

    if isinstance(value, dict | list):
        return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)
    return yaml.safe_dump(value, allow_unicode=True).removesuffix("...\n").strip()


def _object(entry: Entry, children: list[Entry]) -> dict[str, Any]:
    standing = entry.standing
    return {
        "key": entry.plain,
        "path": entry.path,
        "description": entry.description,
        "forms": list(entry.forms),
        "default": entry.default,
        "required": entry.required,
        "deprecated": entry.deprecated,
        "standing": standing.kind,
        "since": standing.since,
        "only": None if standing.only is None else list(standing.only),
        "why": standing.why or None,
        "examples": list(entry.examples),
        "below": [child.plain for child in children],
    }
