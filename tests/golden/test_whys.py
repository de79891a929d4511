"""Each file in whys/ is one situation: a stack and a world in YAML, a service, and the answer to `why` as text.

The form is that of plans/ (see test_plans.py), with `why: SERVICE`. Run with PYORCH_GOLDEN=write to write the answers
anew, and read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.why import Chain, explain
from tests.golden.test_plans import NOW, wanted_from, world_from

CASES = sorted((Path(__file__).parent / "whys").glob("*.txt"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_why(case: Path) -> None:
    given, _, expected = case.read_text().partition("\n--- why\n")
    told = yaml.safe_load(given)
    wanted = wanted_from(told)
    world = world_from(told.get("world", {}), [wanted])
    said = text(explain(wanted, world, reconcile([wanted], world, NOW), told["why"], NOW))
    if os.environ.get("PYORCH_GOLDEN") == "write":
        case.write_text(f"{given}\n--- why\n{said}\n")
    else:
        assert said.strip("\n") == expected.strip("\n")


def text(chain: Chain) -> str:
    lines = [f"{link.service} ({link.subject}) is {link.state}: {link.cause}" for link in chain.links]
    return "\n".join([*lines, f"next: {chain.next}"])
