"""pyorch port: where on the host a port of a service is published."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

HELP = """Print the address and port of the host that lead to a port of a service."""
EXAMPLES = """
  pyorch port web 80                  127.0.0.1:8080
  pyorch port --protocol udp dns 53
"""
OPTIONS = (
    Option("--index", kind="integer", metavar="N", default=1, help="Of this replica; all have the same."),
    Option("--protocol", kind="text", choices=("tcp", "udp"), default="tcp", help="tcp or udp."),
)
ARGUMENTS = (Argument("service", metavar="SERVICE", complete=True), Argument("private_port", metavar="PORT"))


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, scope
    from orchestrator.errors import Missing, Mistake

    number, _, protocol = given.private_port.partition("/")
    protocol = protocol or given.protocol
    if not number.isdigit():
        raise Mistake(f"cannot look up port '{given.private_port}': write its number, as in pyorch port web 80")
    rows = agent(given).get("/v1/containers", **scope(given), services=given.service)
    if not rows:
        raise Missing(f"cannot look up the ports of '{given.service}': it is not running")
    published = rows[0]["Publishers"]
    found = [p for p in published if (p["TargetPort"], p["Protocol"]) == (int(number), protocol)]
    if not found:
        raise Missing(f"no port {number}/{protocol} for container {rows[0]['Name']}: {rows[0]['Ports'] or 'none'}")
    for one in found:
        address = f"[{one['URL']}]" if ":" in one["URL"] else one["URL"]
        print(f"{address}:{one['PublishedPort']}")
    return 0
