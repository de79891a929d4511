"""pyorch build: the images of the stack's services, from their Dockerfiles."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

HELP = """Build the images of services that have `build`. Nothing is started; no daemon is needed.

Steps that mean what they meant before are taken from the cache.
"""
EXAMPLES = """
  pyorch build                            every service that can be built
  pyorch build --no-cache web             this one, every step anew
  pyorch build --build-arg VERSION=2      an ARG's value
  pyorch build --push                     and send the images to their registries
"""
OPTIONS = (
    Option("--no-cache", help="Every step anew."),
    Option("--pull", help="Ask registries for newer base images."),
    Option("--build-arg", kind="many", metavar="NAME=VALUE", help="The value of an ARG; without '=' the caller's."),
    Option(
        "--progress",
        kind="text",
        choices=("auto", "tty", "plain", "quiet"),
        default="auto",
        metavar="HOW",
        help="auto, tty (living lines), plain (everything that is written), quiet.",
    ),
    Option("--push", help="Send the images to their registries, too."),
    Option("--with-dependencies", help="What the named services depend on too."),
    Option("-q", "--quiet", help="Only the digests."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="[FILE] SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.where import ensured, take_file, wish

    take_file(given, given.services)
    body = {**wish(given), "services": given.services, "options": _options(given)}
    if given.with_dependencies and given.services:
        from orchestrator.cli.where import only, read_stack

        body["services"] = list(only(read_stack(given, []), given.services).services)
    code, built = _follow(given, ensured(given).open("POST", "/v1/build", body=body))
    if given.quiet or given.progress == "quiet":
        print("".join(f"{message['digest']}\n" for message in built), end="")
    if code or not given.push:
        return code
    from orchestrator.cli.image_work import work

    names = [message["name"] for message in built]
    return work(given, "push", [{"reference": name} for name in names])[0]


def _options(given: Given) -> dict[str, Any]:
    import os

    arguments = {}
    for word in given.build_arg:
        name, equals, value = word.partition("=")
        if equals:
            arguments[name] = value
        elif name in os.environ:
            arguments[name] = os.environ[name]
    return {"no_cache": given.no_cache, "pull": given.pull, "arguments": arguments}


def _follow(given: Given, answer: Any) -> tuple[int, list[dict[str, Any]]]:
    from orchestrator.api.response import Lines
    from orchestrator.cli.printing import coloured
    from orchestrator.cli.progress import Live, Progress, progress, verdict
    from orchestrator.errors import Unreachable

    quiet = given.quiet or given.progress == "quiet"
    teller = progress(given)
    if given.progress in ("plain", "tty"):
        teller = Progress() if given.progress == "plain" else Live(colour=coloured(given, 2))
    lines = Lines()
    built: list[dict[str, Any]] = []
    while (data := answer.receive()) is not None:
        for message in lines.feed(data):
            if message["type"] == "done":
                teller.settle()
                return verdict(message), built
            if not quiet:
                teller.tell(message)
            if message.get("state") == "built":
                built.append(message)
    raise Unreachable("cannot say how it ended: the agent closed the connection before its work was done")
