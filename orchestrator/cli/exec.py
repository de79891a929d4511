"""pyorch exec: a command in a running container, with its streams, its terminal and its exit code."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Run a command in a running container. Its exit code is ours.

A terminal is made for it where our stdin and stdout are terminals.
"""
EXAMPLES = """
  pyorch exec db sh                          a shell
  pyorch exec -T db pg_dump shop > shop.sql  no terminal: bytes as they are
  pyorch exec --index 2 -e DEBUG=1 -w /tmp api env
"""
OPTIONS = (
    Option("-T", "--no-tty", help="No terminal, even where we have one."),
    Option("-t", "--tty", help="A terminal (the default on a terminal)."),
    Option("-i", "--interactive", help="Keep stdin open (the default)."),
    Option("-d", "--detach", help="Do not wait for it."),
    Option("-e", "--env", kind="many", metavar="KEY[=VALUE]", help="Variable for the command; without a value: ours."),
    Option("-u", "--user", kind="text", metavar="USER", help="User, or uid:gid."),
    Option("-w", "--workdir", kind="text", metavar="DIR", help="Directory in the container."),
    Option("--index", kind="integer", metavar="N", help="Which replica of the service (else the first that runs)."),
)
ARGUMENTS = (
    Argument("service", complete=True),
    Argument("words", many=True, metavar="COMMAND [ARG]..."),
)
INTERSPERSED = False  # options after the service belong to the command


def run(given: Given) -> int:
    import os

    from orchestrator.cli.where import agent, deed_path, stack_name

    open_stdin()
    client = agent(given)
    path = deed_path(stack_name(given, client), "exec")
    tty = not (given.no_tty or given.detach) and os.isatty(0) and os.isatty(1)
    rows, columns = (0, 0)
    if tty:
        columns, rows = os.get_terminal_size(1)
    body = {
        "service": given.service,
        "index": given.index,
        "command": given.words,
        "environment": dict(variables(given.env)),
        "user": given.user,
        "working_dir": given.workdir,
        "tty": tty,
        "stdin": not given.detach,
        "rows": rows,
        "cols": columns,
        "detach": given.detach,
    }
    if given.detach:
        client.open("POST", path, body=body).close()
        return 0
    connection, said = client.upgrade(path, body, "pyorch-exec")
    if tty:
        from orchestrator.cli.terminal import converse_raw

        return converse_raw(connection, said)
    from orchestrator.cli.streams import converse

    return converse(connection, said)


def open_stdin() -> None:
    """Where our caller closed stdin, its number would be given to the next thing opened: our socket."""
    import os

    try:
        os.fstat(0)
    except OSError:
        os.open(os.devnull, os.O_RDONLY)


def variables(written: list[str]) -> list[tuple[str, str]]:
    """KEY=VALUE as it is; KEY alone with our value, and left out where we have none."""
    import os

    pairs = (text.partition("=") for text in written)
    known = ((key, value if equals else os.environ.get(key)) for key, equals, value in pairs)
    return [(key, value) for key, value in known if value is not None]
