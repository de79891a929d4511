"""pyorch attach: our terminal, or our streams, joined to the first process of a container."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Show what a running container writes from now on, and give it what we type (`stdin_open`, `tty`).

Ends with the container, with its exit code; on a terminal Ctrl-P Ctrl-Q leaves it running.
"""
EXAMPLES = """
  pyorch attach console
  pyorch attach --no-stdin --index 2 worker
"""
OPTIONS = (
    Option("--index", kind="integer", metavar="N", help="Which replica of the service (else the first that runs)."),
    Option("--no-stdin", help="Only look."),
    Option(
        "--sig-proxy", kind="text", metavar="BOOL", default="true", help="Our signals become the container's (true)."
    ),
    Option("--detach-keys", kind="text", metavar="KEYS", default="ctrl-p,ctrl-q", help="What leaves it running."),
)
ARGUMENTS = (Argument("service", complete=True),)


def run(given: Given) -> int:
    import os

    from orchestrator.cli.exec import open_stdin
    from orchestrator.cli.where import agent, deed_path, stack_name

    open_stdin()
    client = agent(given)
    stack = stack_name(given, client)
    rows = client.get("/v1/containers", stack=stack, services=given.service)
    tty = any(row["Tty"] for row in rows[:1]) and os.isatty(0) and os.isatty(1) and not given.no_stdin
    body = {"service": given.service, "index": given.index}
    connection, said = client.upgrade(deed_path(stack, "attach"), body, "pyorch-exec")
    if tty:
        from orchestrator.cli.terminal import converse_raw

        return converse_raw(connection, said, leave=keys(given.detach_keys), now=True)
    if given.sig_proxy.lower() in ("0", "f", "false"):
        from orchestrator.cli.streams import converse

        return converse(connection, said, stdin=not given.no_stdin)
    from orchestrator.cli.signals import converse_with_signals

    return converse_with_signals(connection, said, stdin=not given.no_stdin)


def keys(written: str) -> bytes:
    """ "ctrl-p,ctrl-q" → the bytes that a terminal sends for them."""
    from orchestrator.errors import Mistake

    found = bytearray()
    for word in written.split(","):
        letter = word.lower().removeprefix("ctrl-")
        if len(letter) != 1 or not letter.isascii():
            raise Mistake(f"cannot use detach keys '{written}': write letters and ctrl-LETTER, as in ctrl-p,ctrl-q")
        found.append(ord(letter) & 0x1F if word.lower().startswith("ctrl-") else ord(word))
    return bytes(found)
