"""pyorch up: what the file says becomes true; then, unless detached, the output of its containers is followed."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option
from orchestrator.cli.table import COMPAT, STRICT

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from orchestrator.api.response import Response
    from orchestrator.cli.progress import Progress

HELP = """Bring the stack up: what is missing is started, what changed is replaced, the rest is left alone.

Services named are brought up with what they depend on; of the others, what runs stays as it was made. Without -d the
output of the containers is followed; Ctrl-C stops them in order, a second Ctrl-C kills them.
"""
EXAMPLES = """
  pyorch up stack.yaml              this file, followed
  pyorch up -d --wait               return when everything is healthy; exit 1 if it cannot be
  pyorch up -d --scale worker=5     five workers
  pyorch up -d --watch              applied again whenever a file of it changes
  pyorch up -d api                  only api and what it depends on
  pyorch up --exit-code-from tests  end as the service tests ends
"""
OPTIONS = (
    Option("-d", "--detach", help="Return when everything is started."),
    Option("--plan", kind="text", metavar="FILE", help="Apply just this plan, unless another revision came since."),
    Option("--wait", help="Return when everything is healthy (implies -d)."),
    Option("--wait-timeout", kind="number", metavar="SECONDS", help="Give up waiting after so long."),
    Option("--watch", help="Apply again whenever a file of the stack changes, until down or an up without it."),
    Option("--remove-orphans", help="Take away services that the file no longer names."),
    Option("--force-recreate", help="Replace containers even if nothing changed."),
    Option("--no-recreate", help="Leave existing containers even if something changed."),
    Option("-V", "--renew-anon-volumes", help="Containers that are replaced begin with new anonymous volumes."),
    Option(
        "--pull",
        kind="text",
        choices=("always", "missing", "never"),
        metavar="POLICY",
        help="Ask registries for images: always, missing, never; instead of each service's pull_policy.",
    ),
    Option("--build", help="Build every image that can be, first."),
    Option("--no-build", help="Build no image, even where one is missing."),
    Option("--locked", help="Run exactly the images that stack.lock names."),
    Option("--no-deps", help="Not what the named services depend on."),
    Option("--scale", kind="many", metavar="SERVICE=N", help="So many replicas, whatever the file says."),
    Option("-t", "--timeout", kind="number", metavar="SECONDS", help="From the stop signal to SIGKILL."),
    Option("--attach", kind="many", metavar="SERVICE", help="Follow the output of these services alone."),
    Option("--no-attach", kind="many", metavar="SERVICE", help="Not the output of these services."),
    Option("--no-log-prefix", help="Output as it is, without the container's name."),
    Option("--timestamps", help="The time before each line of output."),
    Option("--abort-on-container-exit", help="Stop everything as soon as one container ends."),
    Option("--abort-on-container-failure", help="The same, if it ends with another exit code than 0."),
    Option("--exit-code-from", kind="text", metavar="SERVICE", help="End with its exit code, as soon as one ends."),
    STRICT,
    COMPAT,
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="[FILE] SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.progress import progress
    from orchestrator.cli.request import planned, request
    from orchestrator.cli.where import ensured

    detached = given.detach or given.wait
    body = {
        **(planned(given.plan) if given.plan else request(given)),
        "goal": "ready" if given.wait else "started",
        "timeout": given.wait_timeout,
        "grace": given.timeout,
        "pull": given.pull,
        "build": True if given.build else False if given.no_build else None,
        "watch": given.watch,
        "renew_volumes": given.renew_anon_volumes,
    }
    if given.locked:
        from orchestrator.cli.lock import locked

        body["locked"] = locked(given)
    client = ensured(given)
    if detached:
        return _detached(client.open("POST", "/v1/up", body=body), progress(given))
    from orchestrator.cli.attached import Attached

    return Attached(given, client, progress(given)).run(body)


def _detached(answer: Response, teller: Progress) -> int:
    from orchestrator.cli.printing import say
    from orchestrator.cli.progress import follow, verdict

    try:
        return verdict(follow(answer, teller))
    except KeyboardInterrupt:
        name = f" -p {teller.stack}" if teller.stack else ""
        say(f"no longer watching: the agent goes on; 'pyorch{name} ps' shows how far, 'pyorch{name} down' ends it")
        return 130
