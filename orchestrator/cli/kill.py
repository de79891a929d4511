"""pyorch kill: a signal for every container of the services; SIGKILL ends them at once."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Send a signal to services, SIGKILL unless another is named.

What SIGKILL ends stays down, as after `pyorch stop`. After any other signal the restart policy says what follows.
"""
EXAMPLES = """
  pyorch kill web            end it now, without its grace
  pyorch kill -s HUP proxy   let it read its settings again
"""
OPTIONS = (
    Option("-s", "--signal", kind="text", metavar="SIGNAL", default="SIGKILL", help="The signal."),
    Option("--remove-orphans", help="Accepted for compatibility: `down` and `up --remove-orphans` do it.", hidden=True),
)
ARGUMENTS = (Argument("services", many=True, required=False, metavar="SERVICE", complete=True),)


def run(given: Given) -> int:
    from orchestrator.cli.deed import do

    return do(given, "kill", {"services": given.services, "signal": given.signal})
