"""What the commands about images share: work asked of the agent and followed; amounts and ages in docker's words."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.cli.option import Given


def work(given: Given, deed: str, images: list[dict[str, Any]]) -> tuple[int, list[dict[str, Any]]]:
    """(exit code, the last line told of each image); failures are told on stderr. The agent is started if need be."""
    import os

    from orchestrator.api.response import Lines
    from orchestrator.cli.progress import progress, verdict
    from orchestrator.cli.where import ensured
    from orchestrator.errors import Unreachable

    body = {"deed": deed, "images": images, "environment": dict(os.environ)}
    answer = ensured(given).open("POST", "/v1/images/work", body=body)
    teller, lines = progress(given), Lines()
    last: list[dict[str, Any]] = []
    teller.silent = bool(getattr(given, "quiet", False))
    while (data := answer.receive()) is not None:
        for message in lines.feed(data):
            if message["type"] == "done":
                teller.settle()
                return verdict(message), last
            if not teller.silent:
                teller.tell(message)
            if "digest" in message or message.get("state") == "saved":
                last.append(message)
    raise Unreachable("cannot say how it ended: the agent closed the connection before its work was done")


def age(moment: str) -> str:
    """ "2024-05-06T07:08:09Z" → "2 years ago"; "N/A" where nothing was noted."""
    from datetime import UTC, datetime

    try:
        then = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        return "N/A"
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = max((datetime.now(UTC) - then).total_seconds(), 0)
    for unit, length in (("year", 31536000), ("month", 2592000), ("week", 604800), ("day", 86400), ("hour", 3600)):
        if seconds >= 2 * length or (unit in ("year", "day", "hour") and seconds >= length):
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count != 1 else ''} ago"
    count, unit = (int(seconds // 60), "minute") if seconds >= 60 else (int(seconds), "second")
    return f"{count} {unit}{'s' if count != 1 else ''} ago"


def amount(value: int) -> str:
    from orchestrator.cli.progress import units

    return units(value)


def short(code: str, full: bool) -> str:
    """An id as people see it; whole ones bear their algorithm."""
    return f"sha256:{code}" if full and code else code[:12]
