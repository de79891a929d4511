"""pyorch rebalance: moves that would empty nodes, with gain and cost; made only when told."""

from __future__ import annotations

from orchestrator.cli.option import Given, Option

HELP = """Propose moves that would leave whole nodes empty, with what is gained and what it costs.

Nothing moves unless --now is given. Replicas with volumes stay where these are.
"""
EXAMPLES = """
  pyorch rebalance --plan           what could be moved, and why
  pyorch rebalance --now --most 5   make it so, with at most five moves
"""
OPTIONS = (
    Option("--plan", help="Only propose (as without any option)."),
    Option("--now", help="Make the moves."),
    Option("--most", kind="integer", metavar="N", default=20, help="At most so many moves."),
    Option("--format", kind="text", choices=("text", "json"), default="text", help="How it is printed."),
)
ARGUMENTS = ()


def run(given: Given) -> int:
    from orchestrator.cli.where import agent
    from orchestrator.errors import Mistake

    if given.plan and given.now:
        raise Mistake("cannot both propose and move: write --plan or --now")
    answer = agent(given).post("/v1/rebalance", {"most": given.most, "now": given.now})
    if given.format == "json":
        import json

        print(json.dumps(answer))
        return 0
    if not answer["proposals"]:
        print("nothing to gain: no node can be emptied by moving what may be moved")
    for one in answer["proposals"]:
        print(f"{one['gain']}; costs: {one['cost']}")
        for move in one["moves"]:
            print(f"  move {move['name']} from {move['from']} to {move['to']}")
    if answer["proposals"] and not given.now:
        print("nothing was moved; --now makes these moves")
    return 0
