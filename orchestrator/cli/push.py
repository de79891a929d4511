"""pyorch push: the images of the stack's services, to their registries."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Send the images of services that are built here to their registries; named services' images in any case."""
EXAMPLES = """
  pyorch push            what was built
  pyorch push web        this one
"""
OPTIONS = (
    Option("-q", "--quiet", help="Say nothing while it goes on."),
    Option("--include-deps", help="What the named services depend on too."),
    Option("--ignore-push-failures", help="Exit code 0 even where an image cannot be sent."),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="[FILE] SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.image_work import work
    from orchestrator.cli.where import only, read_stack

    stack = read_stack(given, given.services)
    chosen = only(stack, given.services).services
    if given.services and not given.include_deps:
        chosen = {name: chosen[name] for name in given.services}
    names = dict.fromkeys(
        service.image
        for service in chosen.values()
        if service.image and (given.services or getattr(service, "build", None)) and not _is_local(service.image)
    )
    if not names:
        from orchestrator.cli.printing import say

        say("nothing to push: no service is built here; name one to push its image all the same")
        return 0
    code, pushed = work(given, "push", [{"reference": name} for name in names])
    for message in pushed:
        print(f"{message['image']}: digest: {message['digest']} size: {message['size']}")
    return 0 if given.ignore_push_failures else code


def _is_local(image: str) -> bool:
    return image.startswith(("host:", "dir:", "oci:/", "oci-archive:", "docker-archive:"))
