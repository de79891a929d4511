"""pyorch run: one command in a container of its own, made from a service."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.api.client import Client

HELP = """Run a command in a new container of a service, beside its replicas. Its exit code is ours.

What the service depends on is started first. The ports of the service stay its replicas', unless -P is given.
"""
EXAMPLES = """
  pyorch run --rm api python manage.py migrate
  pyorch run --rm -e DEBUG=1 -v ./dump:/dump db sh -c 'pg_restore /dump/shop'
  pyorch run -d --name probe -p 9000:80 web
"""
OPTIONS = (
    Option("--rm", help="Remove the container when it has ended."),
    Option("-d", "--detach", help="Print its name and do not wait for it."),
    Option("-T", "--no-tty", help="No terminal, even where we have one."),
    Option("-i", "--interactive", help="Keep stdin open (the default)."),
    Option("-e", "--env", kind="many", metavar="KEY[=VALUE]", help="Variable; without a value: ours."),
    Option("--env-from-file", kind="many", metavar="FILE", help="Variables from a file."),
    Option("--entrypoint", kind="text", metavar="COMMAND", help="Instead of the image's; '' for none."),
    Option("-l", "--label", kind="many", metavar="KEY=VALUE", help="Label."),
    Option("--name", kind="text", metavar="NAME", help="Name of the container."),
    Option("-u", "--user", kind="text", metavar="USER", help="User, or uid:gid."),
    Option("-w", "--workdir", kind="text", metavar="DIR", help="Directory in the container."),
    Option("-v", "--volume", kind="many", metavar="SOURCE:TARGET[:ro]", help="A further mount."),
    Option("-p", "--publish", kind="many", metavar="HOST:CONTAINER", help="Publish a port of this container."),
    Option("-P", "--service-ports", help="Publish the ports of the service."),
    Option("--use-aliases", help="The names of the service lead to it too."),
    Option("--cap-add", kind="many", metavar="NAME", help="A further capability."),
    Option("--cap-drop", kind="many", metavar="NAME", help="A capability less."),
    Option("--no-deps", help="Not what the service depends on."),
    Option("--pull", kind="text", choices=("always", "missing", "never"), help="Instead of the service's pull_policy."),
    Option("--remove-orphans", help="Take away services that the file no longer names."),
    Option("-q", "--quiet", help="Say nothing of what is started first."),
    Option("--quiet-pull", help="Accepted for compatibility.", hidden=True),
)
ARGUMENTS = (
    Argument("service", complete=True),
    Argument("words", many=True, required=False, metavar="[COMMAND] [ARG]..."),
)
INTERSPERSED = False  # options after the service belong to the command


def run(given: Given) -> int:
    import os

    from orchestrator.cli.exec import open_stdin
    from orchestrator.cli.where import deed_path, ensured

    open_stdin()
    client = ensured(given)
    tty = not (given.no_tty or given.detach) and os.isatty(0) and os.isatty(1)
    code, stack = _ground(given, client)
    if code:
        return code
    path, body = deed_path(stack, "run"), _asked(given, tty)
    if given.detach:
        print(client.post(path, body)["Name"])
        return 0
    connection, said = client.upgrade(path, body, "pyorch-exec")
    if tty:
        from orchestrator.cli.terminal import converse_raw

        return converse_raw(connection, said)
    from orchestrator.cli.signals import converse_with_signals

    return converse_with_signals(connection, said)


def _ground(given: Given, client: Client) -> tuple[int, str]:
    """What the service needs is up. (exit code, the stack's name)."""
    from orchestrator.cli.progress import Quiet, follow, progress, verdict
    from orchestrator.cli.where import wish

    body = {
        **wish(given),
        "services": [given.service],
        "only_needs": True,
        "no_deps": given.no_deps,
        "remove_orphans": given.remove_orphans,
        "pull": given.pull,
    }
    teller = Quiet() if given.quiet else progress(given)
    code = verdict(follow(client.open("POST", "/v1/up", body=body), teller))
    return code, teller.stack


def _asked(given: Given, tty: bool) -> dict[str, Any]:
    import os

    from orchestrator.cli.exec import variables

    columns, rows = os.get_terminal_size(1) if tty else (0, 0)
    return {
        "service": given.service,
        "command": given.words or None,
        "entrypoint": given.entrypoint,
        "environment": {**_from_files(given.env_from_file), **dict(variables(given.env))},
        "labels": dict(label.partition("=")[::2] for label in given.label),
        "name": given.name,
        "user": given.user,
        "working_dir": given.workdir,
        "volumes": [_absolute(volume) for volume in given.volume],
        "publish": given.publish,
        "cap_add": [_capability(name) for name in given.cap_add],
        "cap_drop": [_capability(name) for name in given.cap_drop],
        "service_ports": given.service_ports,
        "use_aliases": given.use_aliases,
        "remove": given.rm,
        "tty": tty,
        "stdin": not given.detach,
        "detach": given.detach,
        "rows": rows,
        "cols": columns,
    }


def _from_files(files: list[str]) -> dict[str, str]:
    import os

    if not files:
        return {}
    from orchestrator.errors import Mistake
    from orchestrator.stack import dotenv
    from orchestrator.stack.places import Complaints, Source

    found: dict[str, str] = {}
    for file in files:
        try:
            with open(file, encoding="utf-8") as opened:
                content = opened.read(dotenv.LONGEST + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise Mistake(f"cannot read env file '{file}': {error}") from error
        complaints = Complaints()
        source = Source(os.path.abspath(file), file, tuple(content.split("\n")))
        found |= dotenv.parse(content, source, os.environ, complaints)
        complaints.raise_if_any()
    return found


def _absolute(volume: str) -> str:
    """A path that starts with a dot is one of where we stand."""
    import os

    source, colon, rest = volume.partition(":")
    return f"{os.path.abspath(source)}{colon}{rest}" if colon and source.startswith(".") else volume


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")
