"""Plans: what `up` would do, told without doing it; kept in a file, and applied only if nothing has come between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.agent import clock
from orchestrator.agent.revisions import change_line
from orchestrator.agent.watch import action_line, only
from orchestrator.errors import Conflict, Mistake
from orchestrator.reconcile import preview, reconcile
from orchestrator.reconcile.difference import difference
from orchestrator.reconcile.preview import Preview, Times
from orchestrator.reconcile.world import Wanted
from orchestrator.stack.model import Stack
from orchestrator.stack.store import from_json, to_json

if TYPE_CHECKING:
    from orchestrator.agent.circle import Circle

FORM = 1  # of a plan file


def plan(circle: Circle, wish: Wanted, whole: bool) -> dict[str, Any]:
    """What would be done were this wanted, from the very decider that would do it; `whole`: with the document that
    `up --plan` applies."""
    name, now = wish.stack.name, clock.now()
    before = circle.wishes.get(name)
    others = [other for other in circle.wishes.all() if other.stack.name != name]
    world = replace(circle.observe(), failures={})
    steps = only(reconcile([*others, wish], world, now), wish)
    rows = preview.preview(before, wish, others, world, _times(circle, wish))
    base = before.revision if before else 0
    ground = difference(before.stack, wish.stack).ground if before else ()
    said = preview.text(name, (base, wish.revision), rows, ground)
    answer = {
        "stack": name,
        "base": base,
        "revision": wish.revision,
        "changes": bool(rows or ground or steps.actions),
        "services": [_row(row) for row in rows],
        "ground": list(ground),
        "actions": [action_line(action) for action in steps.actions],
        "holds": [{"subject": h.subject, "why": h.why, "text": h.text(now)} for h in steps.holds],
        "summary": said,
        "text": steps.text(now),
    }
    return answer | ({"form": FORM, "document": to_json(wish.stack)} if whole else {})


def _times(circle: Circle, wish: Wanted) -> dict[str, Times]:
    history, name = circle.wishes.history, wish.stack.name
    return {
        service: Times(history.spans(name, service, "start"), history.spans(name, service, "stop"))
        for service in wish.stack.services
    }


def _row(row: Preview) -> dict[str, Any]:
    downtime = row.downtime
    return {
        "service": row.service,
        "class": row.kind,
        "why": row.why,
        "changes": [change_line(change) for change in row.changes],
        "triggers": [{"service": service, "what": what} for service, what in row.triggers],
        "downtime": downtime and {"p50": downtime.p50, "p95": downtime.p95, "why": downtime.why},
        "room": row.room,
    }


def planned(body: Mapping[str, Any]) -> Stack:
    """The stack in a plan file. Raises Mistake."""
    if body.get("form") != FORM or not isinstance(body.get("document"), str):
        raise Mistake("cannot read the plan: it was not written by 'pyorch plan --out FILE' of this version")
    try:
        return from_json(body["document"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Mistake(f"cannot read the plan: its document is damaged ({error!r})") from error


def still_true(circle: Circle, body: Mapping[str, Any], name: str) -> None:
    """Compare and set: raises Conflict where another revision has come since the plan was made."""
    wish = circle.wishes.get(name)
    now, base = (wish.revision if wish else 0), body.get("base")
    if now != base:
        made = f"revision {base} of {name!r}" if base else f"no {name!r} at all"
        found = f"it is at revision {now}" if now else "it is not up any more"
        raise Conflict(f"cannot apply this plan: it was made over {made}, and {found}; plan again")
