"""pyorch config: the stack file, checked and filled in. In this process: neither agent nor root rights are needed."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option
from orchestrator.cli.table import STRICT

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HELP = """Check the stack file and show it with everything filled in, as docker compose does.

All mistakes are told at once, each with its place; exit code 2 then.
"""
EXAMPLES = """
  pyorch config                     as YAML
  pyorch config -q && echo fine     only check
  pyorch config --format json | jq .services
  pyorch config --no-interpolate    with ${VARIABLES} as they are written
  pyorch config --variables         which variables the files name, and their defaults
  pyorch config --why services.web.environment.URL    where a value comes from
"""
OPTIONS = (
    Option("--format", kind="text", choices=("yaml", "json"), help="How it is printed: yaml (usual) or json."),
    Option("-q", "--quiet", help="Say nothing where all is well."),
    Option("--services", help="Only the names of services, in starting order."),
    Option("--networks", help="Only the names of networks."),
    Option("--volumes", help="Only the names of volumes."),
    Option("--images", help="Only the images."),
    Option("--models", help="Only the names of models."),
    Option("--profiles", help="Only the names of profiles."),
    Option("--variables", help="Only the variables that the files name, with their defaults."),
    Option("--environment", help="Only the variables that values are filled in from."),
    Option("--hash", kind="text", metavar="SERVICE", help="A digest of what the service means; * for every service."),
    Option("--no-interpolate", help="Leave variables as they are written."),
    Option("--no-normalize", help="Leave out what follows from what is written (default network, names …)."),
    Option("--no-path-resolution", help="Leave paths as they are written."),
    Option("--no-consistency", help="Do not check what must hold between the parts."),
    Option("--no-env-resolution", help="Do not read env_file."),
    Option("--resolve-image-digests", help="Pin the images to the digests that their registries name."),
    Option("--why", kind="text", metavar="KEY", help="Only where the value at KEY, or each below it, comes from."),
    Option("--origins", help="Behind each value the place where it was written."),
    Option("-o", "--output", kind="text", metavar="FILE", help="Into a file."),
    STRICT,
)
ARGUMENTS = (Argument("only", many=True, required=False, metavar="[FILE] SERVICE"),)


def run(given: Given) -> int:
    from orchestrator.cli.printing import say
    from orchestrator.cli.where import asked, take_file
    from orchestrator.stack import config
    from orchestrator.stack.loader import Options
    from orchestrator.stack.places import Complaints

    take_file(given, given.only)
    options = Options(
        interpolate=not (given.no_interpolate or given.variables),
        normalize=not given.no_normalize,
        consistency=not given.no_consistency,
        resolve_paths=not given.no_path_resolution,
        # A list needs no env_file; but docker compose reads them for --environment.
        resolve_env=not (given.no_env_resolution or _asked_for(given)[0]) or given.environment,
    )
    if given.why or given.origins:
        from orchestrator.cli import whence

        text = whence.why(asked(given), given.why) if given.why else whence.origins(asked(given))
        return _out(given, text)
    complaints = Complaints(given.strict)
    shown = _asked_for(given)
    pinned = _digests(given) if given.resolve_image_digests else None
    text = config.text(
        shown,
        asked(given),
        options,
        complaints,
        given.only,
        format=given.format or "yaml",
        quiet=given.quiet,
        pinned=pinned,
    )
    for warning in complaints.warnings:
        say(f"warning: {warning}")
    return _out(given, "" if given.quiet else text)


def _digests(given: Given) -> Callable[[Sequence[str]], dict[str, str]]:
    """Asks the registries, through the agent, what the names stand for now."""
    from orchestrator.cli.image_work import work
    from orchestrator.errors import Unreachable

    def pinned(names: Sequence[str]) -> dict[str, str]:
        code, found = work(given, "resolve", [{"reference": name} for name in names]) if names else (0, [])
        if code:
            raise Unreachable("cannot pin every image to its digest: see above")
        return {message["image"]: message["name"] for message in found}

    return pinned


def _out(given: Given, text: str) -> int:
    if given.output:
        _write(given.output, text)
    else:
        print(text, end="")
    return 0


def _asked_for(given: Given) -> tuple[str, str]:
    """Which list is wanted instead of the whole ("" : none), and its word."""
    for name in ("environment", "services", "networks", "volumes", "images", "models", "profiles", "variables"):
        if getattr(given, name):
            return name, ""
    return ("hash", given.hash) if given.hash else ("", "")


def _write(path: str, text: str) -> None:
    from orchestrator.errors import HostRefused

    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise HostRefused(f"cannot write '{path}': {error.strerror}") from error
