"""A deed done to a stack that exists (down, stop, start, restart): asked of the agent, followed to its end."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.cli.option import Given


def do(given: Given, deed: str, body: dict[str, Any]) -> int:
    """Returns the exit code. Interrupted, the deed goes on in the agent; the user is told so."""
    from orchestrator.cli.progress import follow, progress, verdict
    from orchestrator.cli.where import agent, deed_path, stack_name

    client = agent(given)
    stack = stack_name(given, client)
    answer = client.open("POST", deed_path(stack, deed), body=body)
    teller = progress(given, stack)
    try:
        return verdict(follow(answer, teller))
    except KeyboardInterrupt:
        from orchestrator.cli.printing import say

        say(f"no longer watching: the agent goes on with '{deed}'; 'pyorch ps -a' shows how far it is")
        return 130
