"""pyorch lock: which content each tag of the stack stands for today, written down; `up --locked` obeys it."""

from __future__ import annotations

import os

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

NAME = "stack.lock"
HELP = """Write stack.lock: the digest that each image's name stands for now.

`pyorch up --locked` then runs exactly these, on every machine, wherever the tags have moved to.
"""
EXAMPLES = """
  pyorch lock                 beside the stack file
  pyorch lock --check         exit 1 where a tag stands for something else by now
  pyorch up --locked
"""
OPTIONS = (
    Option("--check", help="Write nothing; exit 1 where the file is not up to date."),
    Option("-o", "--output", kind="text", metavar="FILE", help="Instead of stack.lock beside the stack file."),
    Option("-q", "--quiet", help="Say nothing while it goes on."),
)
ARGUMENTS = (Argument("file_word", required=False, metavar="[FILE]"),)


def run(given: Given) -> int:
    from orchestrator.cli.image_work import work
    from orchestrator.cli.printing import say
    from orchestrator.cli.where import read_stack

    stack = read_stack(given, [given.file_word] if given.file_word else [])
    names = dict.fromkeys(
        service.image
        for service in stack.services.values()
        if service.image and not service.build and not service.image.startswith(("host:", "dir:"))
    )
    code, resolved = work(given, "resolve", [{"reference": name} for name in names])
    if code:
        return code
    digests = {message["image"]: message["digest"] for message in resolved}
    text = _text({name: digests[name] for name in names})
    path = given.output or os.path.join(os.path.dirname(stack.files[0]), NAME)
    if given.check:
        stale = _read(path) != text
        if stale:
            say(f"{path} is not up to date; run 'pyorch lock'")
        return int(stale)
    _write(path, text)
    print(f"{path}: {len(names)} image{'s' if len(names) != 1 else ''}")
    return 0


def locked(given: Given) -> dict[str, str]:
    """Image → digest, of the lock file beside the stack file. Mistake where there is none, or it cannot be read."""
    import json
    import re

    from orchestrator.cli.where import files
    from orchestrator.errors import Mistake

    path = os.path.join(os.path.dirname(files(given)[0]), NAME)
    text = _read(path)
    if text is None:
        raise Mistake(f"cannot bring up --locked: there is no {path}; write it with 'pyorch lock'")
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#") or line in ("version: 1", "images:", "images: {}", ""):
            continue
        row = re.fullmatch(r'  ("(?:[^"\\]|\\.)+"): (sha(?:256|512):[0-9a-f]+)', line)
        if row is None:
            raise Mistake(f"cannot read {path}: line {number} is none that 'pyorch lock' writes: {line!r}")
        found[json.loads(row[1])] = row[2]
    return found


def _text(digests: dict[str, Any]) -> str:
    import json

    rows = "".join(f"  {json.dumps(name)}: {digest}\n" for name, digest in sorted(digests.items()))
    head = "# What the tags stand for. Written by `pyorch lock`, obeyed by `pyorch up --locked`.\nversion: 1\n"
    return head + (f"images:\n{rows}" if rows else "images: {}\n")


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(path: str, text: str) -> None:
    from orchestrator.errors import HostRefused

    try:
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(f"{path}.new", path)
    except OSError as error:
        raise HostRefused(f"cannot write {path}: {error.strerror}") from error
