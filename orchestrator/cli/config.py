"""pyorch config: the stack file, checked and filled in. In this process: neither agent nor root rights are needed."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.stack.model import Stack

HELP = """Check the stack file and show it with everything filled in.

All mistakes are told at once, each with its place; exit code 2 then.
"""
EXAMPLES = """
  pyorch config                     as YAML
  pyorch config -q && echo fine     only check
  pyorch config --format json | jq .services
  pyorch config --hash '*'          a digest of each service's meaning: it changes when `up` would replace it
"""
OPTIONS = (
    Option("--format", kind="text", choices=("yaml", "json"), default="yaml", help="How it is printed."),
    Option("-q", "--quiet", help="Say nothing where all is well."),
    Option("--services", help="Only the names of services, in starting order."),
    Option("--networks", help="Only the names of networks."),
    Option("--volumes", help="Only the names of volumes."),
    Option("--images", help="Only the images."),
    Option("--hash", kind="text", metavar="SERVICE", help="A digest of what the service means; * for every service."),
    Option("-o", "--output", kind="text", metavar="FILE", help="Into a file."),
)
ARGUMENTS = (Argument("only", many=True, required=False, metavar="[FILE] SERVICE"),)


def run(given: Given) -> int:
    from orchestrator.cli.printing import say
    from orchestrator.cli.where import only, read_stack

    stack = only(read_stack(given, given.only), given.only)
    for warning in stack.warnings:
        say(f"warning: {warning}")
    text = "" if given.quiet else _text(given, stack)
    if given.output:
        _write(given.output, text)
    else:
        print(text, end="")
    return 0


def _write(path: str, text: str) -> None:
    from orchestrator.errors import HostRefused

    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise HostRefused(f"cannot write '{path}': {error.strerror}") from error


def _text(given: Given, stack: Stack) -> str:
    if given.services:
        from orchestrator.stack import graph

        return _lines(name for level in graph.order(stack.services) for name in level)
    if given.networks:
        return _lines(stack.networks)
    if given.volumes:
        return _lines(stack.volumes)
    if given.images:
        return _lines(service.image for service in stack.services.values())
    if given.hash:
        return _lines(_hashes(stack, given.hash))
    from orchestrator.stack.dump import dump

    return dump(stack, given.format)


def _hashes(stack: Stack, wanted: str) -> Iterable[str]:
    from orchestrator.errors import Mistake
    from orchestrator.reconcile.replica import digest, meaning
    from orchestrator.stack import contents

    stack = contents.read(stack, lambda _: b"")  # what is external is known to the agent only
    names = list(stack.services) if wanted == "*" else wanted.split(",")
    unknown = [name for name in names if name not in stack.services]
    if unknown:
        raise Mistake(*(f"no such service: {name}" for name in unknown))
    return [f"{name} {digest(meaning(stack.services[name], stack))}" for name in names]


def _lines(values: Iterable[str]) -> str:
    return "".join(f"{value}\n" for value in values)
