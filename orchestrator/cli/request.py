"""The body of /v1/up and /v1/plan: the same, so that a plan speaks of what `up` would do."""

from __future__ import annotations

from orchestrator.cli.where import take_file, wish

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.cli.option import Given


def request(given: Given) -> dict[str, Any]:
    """What both commands have in common; Mistake where --scale cannot be read."""
    take_file(given, given.services)
    return {
        **wish(given),
        "strict": given.strict,
        "compat": given.compat,
        "services": given.services,
        "remove_orphans": given.remove_orphans or _environment_says("COMPOSE_REMOVE_ORPHANS"),
        "force_recreate": given.force_recreate,
        "no_recreate": given.no_recreate,
        "no_deps": given.no_deps,
        "scale": dict(scaled(text) for text in given.scale),
    }


def planned(path: str) -> dict[str, Any]:
    """The body of an `up` that applies a plan file: what was asked when it was made, and the plan itself."""
    import json
    import os

    from orchestrator.errors import Mistake

    try:
        with open(path, encoding="utf-8") as file:
            plan = json.load(file)
        asked = dict(plan.pop("request"))
    except OSError as error:
        raise Mistake(f"cannot read plan '{path}': {(error.strerror or str(error)).lower()}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Mistake(f"cannot read plan '{path}': it was not written by 'pyorch plan --out FILE'") from None
    kept = {key: plan.get(key) for key in ("form", "stack", "base", "document")}
    return {**asked, "directory": os.getcwd(), "plan": kept}


def scaled(text: str) -> tuple[str, int]:
    service, _, count = text.partition("=")
    if not service or not count.isdigit():
        from orchestrator.errors import Mistake

        raise Mistake(f"cannot scale '{text}': write SERVICE=N, as in --scale web=3")
    return service, int(count)


def _environment_says(name: str) -> bool:
    import os

    return os.environ.get(name, "").lower() in ("1", "true", "yes")
