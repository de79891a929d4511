"""pyorch pull: the images of the stack's services."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.stack.model import Service

HELP = """Fetch the images of the services, whatever runs; `up` then uses them.

A word that is no service but looks like an image (a ':', '/' or '@' in it) is pulled as that.
"""
EXAMPLES = """
  pyorch pull                        every service's image
  pyorch pull web db                 these
  pyorch pull --ignore-pull-failures go on where one cannot be had
"""
OPTIONS = (
    Option("-q", "--quiet", help="Say nothing while it goes on."),
    Option("--policy", kind="text", choices=("missing", "always"), metavar="POLICY", help="missing, always."),
    Option("--include-deps", help="What the named services depend on too."),
    Option("--ignore-buildable", help="Not those that can be built."),
    Option("--ignore-pull-failures", help="Exit code 0 even where an image cannot be had."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="[FILE] SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.image_work import work
    from orchestrator.cli.printing import say

    stack, services = _services(given)
    built = [one for one in services if one.build and (given.ignore_buildable or one.image == f"{stack}-{one.name}")]
    for service in built:
        say(f"{service.name} is not pulled: it can be built")
    asked: list[dict[str, Any]] = [
        {"reference": service.image, "platform": service.platform}
        for service in services
        if _pullable(service) and service not in built
    ]
    asked += [{"reference": word} for word in given.services if _is_image(word)]
    images = {one["reference"]: one for one in asked}
    if given.policy == "missing":
        from orchestrator.cli.where import ensured

        here = {row["name"] for row in ensured(given).get("/v1/images")}
        images = {name: one for name, one in images.items() if _complete(name) not in here}
    code, _ = work(given, "pull", list(images.values()))
    return 0 if given.ignore_pull_failures else code


def _services(given: Given) -> tuple[str, list[Service]]:
    """The stack's name, and the services meant."""
    from orchestrator.cli.where import only, read_stack

    words = [word for word in given.services if not _is_image(word)]
    if not words and any(map(_is_image, given.services)):
        return "", []
    stack = read_stack(given, words)
    chosen = only(stack, words)
    services = chosen.services.values() if given.include_deps or not words else map(chosen.services.__getitem__, words)
    return stack.name, list(services)


def _pullable(service: Service) -> bool:
    return bool(service.image) and not service.image.startswith(("host:", "dir:"))


def _is_image(word: str) -> bool:
    return any(sign in word for sign in ":/@") and not word.endswith((".yaml", ".yml"))


def _complete(name: str) -> str:
    """As the store calls it; whatever cannot be completed is asked for, and the answer says why not."""
    first, slash, rest = name.partition("/")
    if name.startswith(("oci:/", "oci-archive:/", "docker-archive:/")):
        return ""
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name if slash else f"library/{name}"
    return f"{first}/{rest}" if ":" in rest or "@" in rest else f"{first}/{rest}:latest"
