"""Who is told of what."""

from __future__ import annotations

import json

from orchestrator.agent.notices import notice, wishes
from orchestrator.agent.store import Event
from orchestrator.stack.model import Stack

TELL = {"on": ["failed", "synced"], "webhook": "http://127.0.0.1/x"}
STACK = Stack("shop", "/", (), {}, extensions={"x-pyorch": {"notify": [TELL, {"on": "unhealthy", "exec": ["true"]}]}})


def test_only_who_asked_for_a_word_is_told() -> None:
    assert wishes(STACK, "synced") == [TELL]
    assert [wish["exec"] for wish in wishes(STACK, "unhealthy")] == [["true"]]
    assert wishes(STACK, "drift") == []
    assert wishes(Stack("bare", "/", (), {}), "failed") == []


def test_a_notice_says_what_happened_to_whom_and_why() -> None:
    event = Event(0, "container", "trouble", "shop", "web", "shop-web-1", "cannot start: no", {})
    assert json.loads(notice(STACK, "failed", event)) == {
        "on": "failed",
        "stack": "shop",
        "service": "web",
        "subject": "shop-web-1",
        "why": "cannot start: no",
        "time": "1970-01-01T00:00:00+00:00",
    }
