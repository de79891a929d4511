"""pyorch ps: docker compose's table and JSON, and the reason of whatever is not as wanted."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

HELP = """List containers, and the reason of whatever is not as wanted."""
EXAMPLES = """
  pyorch ps                       what runs, and what should and does not
  pyorch ps -a                    ended containers too
  pyorch ps --format json         one JSON object a line, docker compose's fields and "Reason"
  pyorch ps -q --status running   only ids
"""
STATES = ("paused", "restarting", "removing", "running", "dead", "created", "exited")
OPTIONS = (
    Option("-a", "--all", help="Ended containers too."),
    Option(
        "--format", kind="text", choices=("table", "json"), default="table", help="A table, or JSON, an object a line."
    ),
    Option("-q", "--quiet", help="Only ids."),
    Option("--services", help="Only the names of services."),
    Option("--status", kind="many", choices=STATES, metavar="STATE", help="Only containers in this state."),
    Option("--filter", kind="text", metavar="status=STATE", help="As docker compose writes it."),
    Option("--no-trunc", help="Do not shorten commands and ids."),
    Option("--orphans", help="Accepted for compatibility: orphans are always shown.", hidden=True),
)
ARGUMENTS = (Argument("names", many=True, required=False, metavar="SERVICE", complete=True),)
HEAD = ("NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS")
COMMAND_WIDTH = 20  # docker's


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, scope

    states = _states(given)
    services = ",".join(given.names) or None
    every = int(given.all or bool(states))
    containers = agent(given).get("/v1/containers", **scope(given), all=every, services=services)
    if states:
        containers = [container for container in containers if container["State"] in states]
    print(_text(given, containers), end="")
    return 0


def _text(given: Given, containers: list[dict[str, Any]]) -> str:
    if given.quiet:
        return _lines(container["ID"] for container in containers if container["ID"])
    if given.services:
        return _lines(dict.fromkeys(container["Service"] for container in containers))
    if given.format == "json":
        import json

        return _lines(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in containers)
    from orchestrator.cli.printing import table

    rows = [_row(container, full=given.no_trunc) for container in containers]
    if not any(container.get("Reason") for container in containers):
        return table(HEAD, rows)
    reasons = [container.get("Reason") or "" for container in containers]
    return table((*HEAD, "REASON"), [(*row, reason) for row, reason in zip(rows, reasons, strict=True)])


def _row(container: dict[str, Any], *, full: bool) -> tuple[str, ...]:
    command = container["Command"]
    if not full and len(command) > COMMAND_WIDTH:
        command = command[: COMMAND_WIDTH - 2] + '…"'
    return (
        container["Name"],
        container["Image"],
        command,
        container["Service"],
        container["RunningFor"],
        container["Status"],
        container["Ports"],
    )


def _states(given: Given) -> list[str]:
    states: list[str] = given.status
    if not given.filter:
        return states
    key, _, state = given.filter.partition("=")
    if key != "status" or state not in STATES:
        from orchestrator.errors import Mistake

        raise Mistake(f"cannot filter by '{given.filter}': write status=STATE, STATE one of {', '.join(STATES)}")
    return [*states, state]


def _lines(values: Any) -> str:
    return "".join(f"{value}\n" for value in values)
